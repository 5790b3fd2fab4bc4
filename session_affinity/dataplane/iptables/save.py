"""Parse ``iptables-save`` output into chains and rules with their options.

Rules are compared by options and never as text: versions differ in quoting, in ``--mask`` and in what they omit.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

K = TypeVar("K")

_WORD = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S+)')
_ESCAPED = re.compile(r"\\(.)")
_NAMED = re.compile(r' -m comment --comment "?([^"\s]+)')
_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)')
_RULE = re.compile(r"(?:\[\d+:\d+\] ?)?-A (?P<chain>\S+)")
_DNAT = re.compile(r" --to-destination (\S+)")
_CHAIN = re.compile(r":(?P<name>\S+) \S+(?: \[\d+:\d+\])?")
_JUMPS = ("-j", "--jump", "-g", "--goto")
_MATCHES = ("-m", "--match")
# Rules of one chain, as many as are printed together, or any other line.
_PIECE = re.compile(r"-A (?P<chain>\S+)(?: .*)?\n(?:-A (?P=chain)(?: .*)?\n)*|.*\n")
_SHARED_LENGTH = 20_000
"""How long the text of a chain's rules is at most: that of all Services is longer, and seldom the same again."""
_LONG_NAMES = {
    "--source": "-s",
    "--destination": "-d",
    "--protocol": "-p",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--destination-port": "--dport",
    "--source-port": "--sport",
}


Destination = tuple[str, str, str]
"""The destination address, protocol and port of a rule; empty where it matches none."""


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
    def destination(self) -> Destination:
        """The destination address, protocol and port that it matches."""
        return _destination(self.body)

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


def _grouped(rules: Iterable[Rule], key: Callable[[Rule], K]) -> Mapping[K, Sequence[Rule]]:
    groups: dict[K, list[Rule]] = defaultdict(list)
    for rule in rules:
        groups[key(rule)].append(rule)
    return MappingProxyType(dict(groups))


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
    def by_destination(self) -> Mapping[Destination, Sequence[Rule]]:
        """Its rules by what they match."""
        return _grouped(self.rules, lambda rule: rule.destination)

    @functools.cached_property
    def by_target(self) -> Mapping[str, Sequence[Rule]]:
        """Its rules by where they lead."""
        return _grouped(self.rules, lambda rule: rule.target)

    @functools.cached_property
    def service(self) -> str:
        """The Service that the comment of its first rule names; empty where it has none."""
        comment = _NAMED.search(self.rules[0].body) if self.rules else None
        return comment[1].partition(":")[0] if comment else ""

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
    tables: dict[str, dict[str, str]] = {}
    table: dict[str, str] | None = None
    is_wanted = True
    # Whole chains at a time: a node has thousands of rules, and most chains are known from earlier readings.
    for piece in _PIECE.finditer(f"{text}\n"):
        chain, printed = piece["chain"], piece[0]
        if chain is None and (printed.isspace() or printed[0] == "#"):
            continue
        if printed[0] == "*":
            name = printed[1:].strip()
            is_wanted = not names or name in names
            table = tables.setdefault(name, {}) if is_wanted else None
        elif printed == "COMMIT\n":
            table, is_wanted = None, True
        elif is_wanted and (table is None or not _read(printed, chain, table)):
            raise NodeError(f"iptables-save printed a line that cannot be read: {printed.splitlines()[0][:200]!r}")
    return Ruleset(
        MappingProxyType(
            {
                name: MappingProxyType({chain: _chain(chain, rules) for chain, rules in chains.items()})
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


# Cached, as is what a rule may be: every reading has the same rules in shared chains, but for a few.
@functools.lru_cache(maxsize=1 << 15)
def _destination(body: str) -> Destination:
    rule = Rule("", 0, body)
    return network(rule.value("-d") or ""), rule.value("-p") or "", rule.value("--dport") or ""


def _read(printed: str, chain: str | None, table: dict[str, str]) -> bool:
    """Add rules of a chain, or a line, to the text of a table's chains; return False for a line of another format."""
    if chain is not None:
        table[chain] = table.get(chain, "") + printed
        return True
    if head := _CHAIN.fullmatch(printed, endpos=len(printed) - 1):
        table.setdefault(head["name"], "")
        return True
    if head := _RULE.match(printed):
        table[head["chain"]] = table.get(head["chain"], "") + f"-A {head['chain']}{printed[head.end() :]}"
    return bool(head)


def _chain(name: str, rules: str) -> Chain:
    return (_shared_chain if len(rules) <= _SHARED_LENGTH else _shared_long_chain)(name, rules)


def _new_chain(name: str, rules: str) -> Chain:
    begin = len("-A ") + len(name)
    bodies = (line[begin:] for line in rules.split("\n")[:-1])
    return Chain(name, tuple(Rule(name, number, body) for number, body in enumerate(bodies, 1)))


# Cached: a chain is the same on all nodes, and in reading after reading.
_shared_chain = functools.lru_cache(maxsize=1 << 14)(_new_chain)
# Those of all Services are the same on all nodes, but seldom in the next reading.
_shared_long_chain = functools.lru_cache(maxsize=32)(_new_chain)


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
