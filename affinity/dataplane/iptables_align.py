"""Which rule answers to which, and in what two rules differ; order and spelling aside."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from affinity.dataplane.iptables_expected import FULL_MASK
from affinity.dataplane.iptables_save import Match

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from affinity.dataplane.iptables_expected import ExpectedRule
    from affinity.dataplane.iptables_save import Option, Rule

PROBABILITY_TOLERANCE: Final = 1e-6
"""The kernel keeps a probability as a fraction of 2^31, so what is printed is not what was written."""

_IMPLIED_MODULES: Final = ("", "tcp", "udp", "sctp")


def align(
    wanted: Sequence[ExpectedRule], seen: Sequence[Rule], *keys: Callable[[Rule], Hashable]
) -> tuple[list[tuple[ExpectedRule, Rule]], list[ExpectedRule], list[Rule]]:
    """Pair expected with seen rules by the first key that agrees; a key of None never agrees.

    Returns the pairs in the expected order, what has no partner, and what nobody asked for.
    """
    partner: dict[int, Rule] = {}
    left = list(seen)
    for key in keys:
        waiting: dict[Hashable, list[Rule]] = defaultdict(list)
        for rule in left:
            waiting[key(rule)].append(rule)
        for place, one in enumerate(wanted):
            if place not in partner and key(one.rule) is not None and waiting[key(one.rule)]:
                partner[place] = waiting[key(one.rule)].pop(0)
        taken = {rule.number for rule in partner.values()}
        left = [rule for rule in left if rule.number not in taken]
    pairs = [(one, partner[place]) for place, one in enumerate(wanted) if place in partner]
    return pairs, [one for place, one in enumerate(wanted) if place not in partner], left


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


def out_of_order(places: Sequence[int]) -> list[int]:
    """Return the fewest elements whose removal leaves the rest ascending."""
    tails: list[int] = []
    lengths: list[int] = []
    for place in places:
        at = bisect_left(tails, place)
        tails[at : at + 1] = [place]
        lengths.append(at + 1)
    kept, wanted = set[int](), len(tails)
    for place, length in zip(reversed(places), reversed(lengths), strict=True):
        if length == wanted:
            kept.add(place)
            wanted -= 1
    return sorted(set(places) - kept)
