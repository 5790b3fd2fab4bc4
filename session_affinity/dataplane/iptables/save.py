"""What ``iptables-save`` prints, as rules whose options can be asked for.

A rule is never matched as a line: versions differ in quoting, in ``--mask`` and in what they leave out.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_WORD = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S+)')
_ESCAPED = re.compile(r"\\(.)")
_RULE = re.compile(r"(?:\[(?P<packets>\d+):(?P<octets>\d+)\] ?)?-A (?P<chain>\S+)")
_CHAIN = re.compile(r":(?P<name>\S+) (?P<policy>\S+)(?: \[\d+:\d+\])?")
_JUMPS = ("-j", "--jump", "-g", "--goto")
_MATCHES = ("-m", "--match")
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
    """An option as written, with its values; ``negated`` when a ``!`` stands before it."""

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
    """A group of options: those of one ``-m module``, or with an empty module those before the first."""

    module: str
    options: tuple[Option, ...] = ()

    def __getitem__(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)

    def __str__(self) -> str:
        return " ".join((*((f"-m {self.module}",) if self.module else ()), *map(str, self.options)))


@dataclass(frozen=True)
class Rule:
    """A rule of a chain. ``number`` counts from 1 as ``iptables -L --line-numbers`` does.

    ``target`` is empty for a rule that only counts; ``jump`` is ``-j`` or ``-g``. ``packets`` and ``octets`` are None
    where no counters were printed, and take no part in comparing rules.
    """

    chain: str
    number: int
    matches: tuple[Match, ...] = ()
    target: str = ""
    target_options: tuple[Option, ...] = ()
    jump: str = "-j"
    packets: int | None = field(default=None, compare=False)
    octets: int | None = field(default=None, compare=False)

    def match(self, module: str) -> Match | None:
        """Return the first match of a module; None when the rule has none."""
        return next((match for match in self.matches if match.module == module), None)

    def option(self, name: str) -> Option | None:
        """Return the first option of this name, whichever match or target it belongs to."""
        for match in self.matches:
            if found := match[name]:
                return found
        return next((option for option in self.target_options if option.name == name), None)

    def value(self, name: str) -> str | None:
        """Return the value of an option; None when the rule has no such option."""
        found = self.option(name)
        return found.value if found else None

    @property
    def comment(self) -> str:
        """The comment; kube-proxy writes none above 1000 endpoints."""
        return self.value("--comment") or ""

    @property
    def spec(self) -> str:
        """The rule after ``-A CHAIN``, in one spelling: no counters, no comment."""
        words = [str(match) for match in self.matches if match.module != "comment"]
        if self.target:
            words += [f"{self.jump} {self.target}", *map(str, self.target_options)]
        return " ".join(filter(None, words))

    def __str__(self) -> str:
        return f"-A {self.chain} {self.spec}"


@dataclass(frozen=True)
class Chain:
    """A chain with its rules; ``policy`` is ``-`` for one that users made."""

    name: str
    policy: str = "-"
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Ruleset:
    """The chains of every table that was printed; questions are about the nat table unless another one is named."""

    tables: Mapping[str, Mapping[str, Chain]] = field(default_factory=dict)

    def chains(self, table: str = "nat") -> Mapping[str, Chain]:
        """Return the chains of a table by name, in the order printed."""
        return self.tables.get(table, {})

    def chain(self, name: str, table: str = "nat") -> Chain | None:
        """Return a chain, None when the table has none of that name."""
        return self.chains(table).get(name)

    def rules(self, name: str, table: str = "nat") -> tuple[Rule, ...]:
        """Return the rules of a chain, none when there is no such chain."""
        chain = self.chain(name, table)
        return chain.rules if chain else ()


def parse(text: str) -> Ruleset:
    """Read ``iptables-save`` output, with or without counters; raises NodeError on a line that is none of it."""
    tables: dict[str, dict[str, tuple[str, list[Rule]]]] = {}
    table: dict[str, tuple[str, list[Rule]]] | None = None
    for line in text.splitlines():
        if not line.strip() or line[0] == "#":
            continue
        if line[0] == "*":
            table = tables.setdefault(line[1:].strip(), {})
        elif line == "COMMIT":
            table = None
        elif table is None or not _read(line, table):
            raise NodeError(f"iptables-save printed a line that cannot be read: {line[:200]!r}")
    return Ruleset(
        MappingProxyType(
            {
                name: MappingProxyType(
                    {chain: Chain(chain, policy, tuple(rules)) for chain, (policy, rules) in chains.items()}
                )
                for name, chains in tables.items()
            }
        )
    )


def parse_rule(line: str, number: int = 1) -> Rule:
    """Read one ``-A CHAIN ...`` line, counters before it included; raises NodeError when it is none."""
    head = _RULE.match(line)
    if not head:
        raise NodeError(f"not a rule as iptables-save prints it: {line[:200]!r}")
    packets, octets = (int(head[name]) if head[name] else None for name in ("packets", "octets"))
    return Rule(head["chain"], number, *_parse_body(line[head.end() :]), packets, octets)


# Nodes hold the same rules, and are read again and again.
@functools.lru_cache(maxsize=1 << 15)
def _parse_body(body: str) -> tuple[tuple[Match, ...], str, tuple[Option, ...], str]:
    """Return a rule's matches, target, options of the target, and whether it jumps or goes."""
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


def _read(line: str, table: dict[str, tuple[str, list[Rule]]]) -> bool:
    if line[0] == ":":
        if found := _CHAIN.fullmatch(line):
            table.setdefault(found["name"], (found["policy"], []))
        return bool(found)
    if found := _RULE.match(line):
        rules = table.setdefault(found["chain"], ("-", []))[1]
        rules.append(parse_rule(line, len(rules) + 1))
    return bool(found)


def _words(line: str) -> Iterator[tuple[str, bool]]:
    """Split as a shell would, keeping whether a word was quoted: a quoted one is never an option."""
    for found in _WORD.finditer(line):
        quoted = found["quoted"]
        yield (found["bare"], False) if quoted is None else (_ESCAPED.sub(r"\1", quoted), True)


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
            # Old builds write "--source ! address".
            negated, negate_next = negated or negate_next, False
            values.append(word)
    if name:
        yield Option(_LONG_NAMES.get(name, name), tuple(values), negated)


def _quote(value: str) -> str:
    return f'"{value}"' if " " in value or not value else value
