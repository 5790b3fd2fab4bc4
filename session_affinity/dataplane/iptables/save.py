"""Parse ``iptables-save`` output into chains and rules with their options.

Rules are compared by options and never as text: versions differ in quoting, in ``--mask`` and in what they omit.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_WORD = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S+)')
_ESCAPED = re.compile(r"\\(.)")
_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)')
_RULE = re.compile(r"(?:\[\d+:\d+\] ?)?-A (?P<chain>\S+)")
_DNAT = re.compile(r" --to-destination (\S+)")
_CHAIN = re.compile(r":(?P<name>\S+) \S+(?: \[\d+:\d+\])?")
_JUMPS = ("-j", "--jump", "-g", "--goto")
_MATCHES = ("-m", "--match")
_SHARED_LENGTH = 64
"""The most rules of a chain that readings share: longer chains are those of all Services, and always change."""
_LONG_NAMES = {
    "--source": "-s",
    "--destination": "-d",
    "--protocol": "-p",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--destination-port": "--dport",
    "--source-port": "--sport",
}


@dataclass(frozen=True)
class Option:
    """An option with its values; ``negated`` when it follows a ``!``."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """All values in one string."""
        return " ".join(self.values)

    def __str__(self) -> str:
        return " ".join((*(("!",) if self.negated else ()), self.name, *map(_quote, self.values)))


@dataclass(frozen=True)
class Match:
    """The options of one ``-m module``; ``module`` is empty for the options before the first ``-m``."""

    module: str
    options: tuple[Option, ...] = ()

    def __getitem__(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)

    def __str__(self) -> str:
        return " ".join((*((f"-m {self.module}",) if self.module else ()), *map(str, self.options)))


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of a chain, without its counters; ``number`` counts from 1 as ``iptables -L --line-numbers`` does.

    ``body`` is its text after the name of the chain. It is parsed on first use: a node has tens of thousands of rules,
    and most of them are only compared as text.
    """

    chain: str
    number: int
    body: str

    @property
    def matches(self) -> tuple[Match, ...]:
        """The matches in order, each with its options."""
        return _parse_body(self.body)[0]

    @property
    def target(self) -> str:
        """The target, empty for a rule without one."""
        return _parse_body(self.body)[1]

    @property
    def target_options(self) -> tuple[Option, ...]:
        """The options of the target."""
        return _parse_body(self.body)[2]

    @property
    def jump(self) -> str:
        """``-j`` or ``-g``."""
        return _parse_body(self.body)[3]

    @property
    def plain(self) -> str:
        """The text after the name of the chain without its comment, spelled as it was printed.

        Rules with the same plain text are equal; equal rules may have another, as versions of iptables spell them.
        """
        return _COMMENT.sub("", self.body, count=1).strip()

    @property
    def has_comment(self) -> bool:
        """Whether the rule has a comment; kube-proxy omits those of Service rules above 1000 endpoints."""
        return " -m comment " in self.body

    def match(self, module: str) -> Match | None:
        """Return the first match of a module; None when the rule has none."""
        return next((match for match in self.matches if match.module == module), None)

    def option(self, name: str) -> Option | None:
        """Return the first option of this name, of any match or of the target; None when there is none."""
        for match in self.matches:
            if option := match[name]:
                return option
        return next((option for option in self.target_options if option.name == name), None)

    def value(self, name: str) -> str | None:
        """Return the value of an option; None when the rule has no such option."""
        option = self.option(name)
        return option.value if option else None

    @property
    def spec(self) -> str:
        """The rule after ``-A CHAIN`` without its comment, which kube-proxy omits above 1000 endpoints."""
        words = [str(match) for match in self.matches if match.module != "comment"]
        if self.target:
            words += [f"{self.jump} {self.target}", *map(str, self.target_options)]
        return " ".join(filter(None, words))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and (self.chain, self.number, _parse_body(self.body)) == (
            other.chain,
            other.number,
            _parse_body(other.body),
        )

    def __hash__(self) -> int:
        return hash((self.chain, self.number))

    def __str__(self) -> str:
        return f"-A {self.chain} {self.spec}".strip()


@dataclass(frozen=True)
class Chain:
    """A chain with its rules."""

    name: str
    rules: tuple[Rule, ...] = ()

    @functools.cached_property
    def plain(self) -> tuple[str, ...]:
        """The plain text of its rules in order."""
        return tuple(rule.plain for rule in self.rules)

    @functools.cached_property
    def dnat_target(self) -> str | None:
        """The address and port of its first DNAT rule; None when it has none."""
        matches = (_DNAT.search(rule.body) for rule in self.rules)
        return next((match[1] for match in matches if match), None)


@dataclass(frozen=True)
class Ruleset:
    """The chains of every table that was printed; methods look in the nat table unless another is named."""

    tables: Mapping[str, Mapping[str, Chain]] = field(default_factory=dict)
    memory: dict[type, object] = field(default_factory=dict, compare=False, repr=False)
    """What was computed from the chains."""

    def chains(self, table: str = "nat") -> Mapping[str, Chain]:
        """Return the chains of a table by name, in the printed order."""
        return self.tables.get(table, {})

    def chain(self, name: str, table: str = "nat") -> Chain | None:
        """Return a chain; None when the table does not have it."""
        return self.chains(table).get(name)

    def rules(self, name: str, table: str = "nat") -> tuple[Rule, ...]:
        """Return the rules of a chain; empty when it does not exist."""
        chain = self.chain(name, table)
        return chain.rules if chain else ()


def parse(text: str, names: Collection[str] = ()) -> Ruleset:
    """Parse ``iptables-save`` output, with or without counters: all tables unless some are named.

    Raises NodeError on a line of another format in these.
    """
    tables: dict[str, dict[str, list[str]]] = {}
    table: dict[str, list[str]] | None = None
    is_wanted = True
    for line in text.splitlines():
        if not line.strip() or line[0] == "#":
            continue
        if line[0] == "*":
            name = line[1:].strip()
            is_wanted = not names or name in names
            table = tables.setdefault(name, {}) if is_wanted else None
        elif line == "COMMIT":
            table, is_wanted = None, True
        elif not is_wanted:
            continue
        elif table is None or not _read(line, table):
            raise NodeError(f"iptables-save printed a line that cannot be read: {line[:200]!r}")
    return Ruleset(
        MappingProxyType(
            {
                name: MappingProxyType({chain: _chain(chain, tuple(bodies)) for chain, bodies in chains.items()})
                for name, chains in tables.items()
            }
        )
    )


def parse_rule(line: str, number: int = 1) -> Rule:
    """Parse one ``-A CHAIN ...`` line, with or without counters; raises NodeError on any other line."""
    head = _RULE.match(line)
    if not head:
        raise NodeError(f"not a rule in the format of iptables-save: {line[:200]!r}")
    return Rule(head["chain"], number, line[head.end() :])


# Cached: nodes have the same rules, and each is read many times.
@functools.lru_cache(maxsize=1 << 15)
def _parse_body(body: str) -> tuple[tuple[Match, ...], str, tuple[Option, ...], str]:
    """Return a rule's matches, target, target options, and ``-j`` or ``-g``."""
    matches: list[Match] = []
    target, jump, options = "", "-j", []
    module, group = "", list[Option]()
    for option in _options(_words(body)):
        if option.name in _MATCHES or option.name in _JUMPS:
            matches.append(Match(module, tuple(group)))
            module, group = option.value, []
            if option.name in _JUMPS:
                target, jump, options = option.value, "-g" if option.name in ("-g", "--goto") else "-j", group
        else:
            group.append(option)
    if not target:
        matches.append(Match(module, tuple(group)))
    kept = tuple(match for match in matches if match.module or match.options)
    return kept, target, tuple(options), jump


def _read(line: str, table: dict[str, list[str]]) -> bool:
    """Add the chain of a line, or the text of its rule, to a table; return False when the line is neither."""
    if line.startswith("-A "):
        # As _RULE does, in half the time: a node has thousands of rules.
        end = line.find(" ", 3)
        chain, body = (line[3:], "") if end < 0 else (line[3:end], line[end:])
        table.setdefault(chain, []).append(body)
        return bool(chain)
    if line[0] == ":":
        if head := _CHAIN.fullmatch(line):
            table.setdefault(head["name"], [])
        return bool(head)
    if head := _RULE.match(line):
        table.setdefault(head["chain"], []).append(line[head.end() :])
    return bool(head)


def _chain(name: str, bodies: tuple[str, ...]) -> Chain:
    return _shared_chain(name, bodies) if len(bodies) <= _SHARED_LENGTH else _new_chain(name, bodies)


def _new_chain(name: str, bodies: tuple[str, ...]) -> Chain:
    return Chain(name, tuple(Rule(name, number, body) for number, body in enumerate(bodies, 1)))


# Cached: a chain is the same on all nodes, and in reading after reading.
_shared_chain = functools.lru_cache(maxsize=1 << 14)(_new_chain)


def _words(line: str) -> Iterator[tuple[str, bool]]:
    """Split a line like a shell; yield each word and whether it was quoted, as a quoted word is never an option."""
    for word in _WORD.finditer(line):
        quoted = word["quoted"]
        yield (word["bare"], False) if quoted is None else (_ESCAPED.sub(r"\1", quoted), True)


def _options(words: Iterable[tuple[str, bool]]) -> Iterator[Option]:
    name, values, negated, negate_next = "", list[str](), False, False
    for word, quoted in words:
        takes_this = name == "--comment" and not values
        if word == "!" and not quoted and not takes_this:
            negate_next = True
        elif word.startswith("-") and not quoted and not takes_this:
            if name:
                yield Option(_LONG_NAMES.get(name, name), tuple(values), negated)
            name, values, negated, negate_next = word, [], negate_next, False
        else:
            # Old iptables versions print "--source ! address".
            negated, negate_next = negated or negate_next, False
            values.append(word)
    if name:
        yield Option(_LONG_NAMES.get(name, name), tuple(values), negated)


def _quote(value: str) -> str:
    return f'"{value}"' if " " in value or not value else value


@functools.lru_cache(maxsize=1 << 14)
def network(text: str) -> str:
    """Return an address or prefix in one spelling; other text is returned as it is."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text
