"""In what two rules differ; order and spelling aside."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.iptables.expected import FULL_MASK
from session_affinity.dataplane.iptables.save import Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from session_affinity.dataplane.iptables.save import Option, Rule

PROBABILITY_TOLERANCE: Final = 1e-6
"""The kernel keeps a probability as a fraction of 2^31, so what is printed is not what was written."""

_IMPLIED_MODULES: Final = ("", "tcp", "udp", "sctp")


def unequal(wanted: Rule, seen: Rule) -> Iterator[tuple[str, str, str]]:
    """Yield the module, what is expected and what is seen for every option in which two rules differ."""
    ours, theirs = _by_module(wanted), _by_module(seen)
    for module in dict.fromkeys((*ours, *theirs)):
        should, does = ours.get(module), theirs.get(module)
        if should and does:
            for pair in _unequal_options(should.options, does.options):
                yield module, *pair
        else:
            yield module, str(should or f"no -m {module}"), str(does or f"no -m {module}")
    if (wanted.target, wanted.jump) != (seen.target, seen.jump):
        yield "", wanted.target, f"{seen.jump} {seen.target}" if seen.target else "no target"
    for pair in _unequal_options(wanted.target_options, seen.target_options):
        yield "", *pair


def _unequal_options(wanted: Iterable[Option], seen: Iterable[Option]) -> Iterator[tuple[str, str]]:
    ours, theirs = {option.name: option for option in wanted}, {option.name: option for option in seen}
    for name in dict.fromkeys((*ours, *theirs)):
        if not _same(ours.get(name), theirs.get(name)):
            yield _spell(name, ours.get(name), theirs.get(name))


def _spell(name: str, mine: Option | None, other: Option | None) -> tuple[str, str]:
    if mine is None:
        return f"no {name}", str(other)
    if other is None:
        return str(mine), f"no {name}"
    return (mine.value if mine.negated == other.negated and mine.value else str(mine)), str(other)


def _by_module(rule: Rule) -> dict[str, Match]:
    """Return what decides, by module: without comments; a module named again keeps a place of its own."""
    found = {"": Match("")}
    for match in rule.matches:
        if match.module != "comment" and (match.options or match.module not in _IMPLIED_MODULES):
            place = f"{match.module} again" if match.module and match.module in found else match.module
            found[place] = match
    return found


def _same(one: Option | None, other: Option | None) -> bool:
    if one is None or other is None:
        present = one or other
        return present is None or present.name == "--rsource" or present.value in FULL_MASK.values()
    if one.negated != other.negated:
        return False
    if one.name == "--probability":
        return abs(float(one.value) - float(other.value)) <= PROBABILITY_TOLERANCE
    if one.name in ("-s", "-d"):
        return network(one.value) == network(other.value)
    return one.values == other.values


def network(text: str) -> str:
    """Return an address or prefix in one spelling."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text


def destination(rule: Rule) -> tuple[str, str, str]:
    """Return the address, protocol and port that a rule matches."""
    return network(rule.value("-d") or ""), rule.value("-p") or "", rule.value("--dport") or ""
