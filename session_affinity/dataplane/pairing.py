"""Which rule answers to which, whatever the dataplane: by what rules are for, never by where they stand."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from session_affinity.dataplane.model import Endpoint


class RuleKind(StrEnum):
    """What a rule is there for."""

    ENTRY = "entry"
    MASQUERADE = "masquerade"
    AFFINITY = "affinity"
    BALANCE = "balancing"
    REMEMBER = "affinity_rules"
    TRANSLATE = "DNAT"
    EXTERNAL = "external"
    OTHER = "other"


OUTSIDE_ORDER: Final = "pods and the node before all others"
"""How rules for traffic from outside are ordered."""


class Numbered(Protocol):
    """A rule that knows its place in its chain, counted from 1."""

    @property
    def number(self) -> int: ...  # noqa: D102


RuleT = TypeVar("RuleT", bound=Numbered)


@dataclass(frozen=True)
class ExpectedRule(Generic[RuleT]):
    """A rule, what it is for, and the endpoint or port it serves."""

    kind: RuleKind
    rule: RuleT
    about: str
    endpoint: Endpoint | None = None


def pair_rules(
    wanted: Sequence[ExpectedRule[RuleT]], seen: Sequence[RuleT], *keys: Callable[[RuleT], Hashable]
) -> tuple[list[tuple[ExpectedRule[RuleT], RuleT]], list[ExpectedRule[RuleT]], list[RuleT]]:
    """Pair expected with seen rules by the first key that agrees; a key of None never agrees.

    Returns the pairs in the expected order, what has no partner, and what nobody asked for.
    """
    partner: dict[int, RuleT] = {}
    left = list(seen)
    for key in keys:
        waiting: dict[Hashable, list[RuleT]] = defaultdict(list)
        for rule in left:
            waiting[key(rule)].append(rule)
        for place, one in enumerate(wanted):
            if place not in partner and key(one.rule) is not None and waiting[key(one.rule)]:
                partner[place] = waiting[key(one.rule)].pop(0)
        taken = {rule.number for rule in partner.values()}
        left = [rule for rule in left if rule.number not in taken]
    pairs = [(one, partner[place]) for place, one in enumerate(wanted) if place in partner]
    return pairs, [one for place, one in enumerate(wanted) if place not in partner], left


def out_of_order_pairs(
    pairs: Sequence[tuple[ExpectedRule[RuleT], RuleT]], *kinds: RuleKind, order: str = "in the order of the endpoints"
) -> list[tuple[ExpectedRule[RuleT], RuleT, str, str]]:
    """Return the fewest rules of some kinds that stand out of order, which is told by a phrase.

    With each: what should be and what is.
    """
    same = [pair for pair in pairs if pair[0].kind in kinds]
    places = sorted(range(len(same)), key=lambda place: same[place][1].number)
    return [
        (
            *same[place],
            f"{place + 1} of {len(same)}, {order}",
            f"{same[place][0].kind} rule for {same[place][0].about} is {places.index(place) + 1} of {len(same)}",
        )
        for place in out_of_order(places)
    ]


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
