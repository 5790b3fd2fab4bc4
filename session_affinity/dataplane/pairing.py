"""Pair expected rules with the rules of a node by purpose and target, never by position; shared by both proxy modes.

Pairing by purpose makes one missing rule one difference, instead of a difference in every rule after it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import Endpoint


class RuleKind(StrEnum):
    """The purpose of a rule; the text appears in messages as in "no affinity rule for 10.10.2.2:80"."""

    ENTRY = "entry"
    MASQUERADE = "masquerade"
    AFFINITY = "affinity"
    BALANCE = "balancing"
    UPDATE = "affinity update"
    TRANSLATE = "DNAT"
    EXTERNAL = "external"
    REFUSE = "refusal"
    FIREWALL = "source range"
    HEALTH_CHECK = "health check"
    FORWARD = "forwarding"
    OTHER = "other"


OUTSIDE_ORDER: Final = "traffic from pods and from the node before all other"
"""The order of the rules for traffic from outside the cluster."""


class NumberedRule(Protocol):
    """A rule with its position in its chain, counted from 1."""

    @property
    def number(self) -> int: ...  # noqa: D102


RuleT = TypeVar("RuleT", bound=NumberedRule)


@dataclass(frozen=True)
class ExpectedRule(Generic[RuleT]):
    """A rule, its purpose, and the endpoint or port that it serves (``about`` has it as text).

    A rule that is ``optional`` may be missing: whether kube-proxy writes it depends on something that is not known.
    """

    kind: RuleKind
    rule: RuleT
    about: str
    endpoint: Endpoint | None = None
    optional: bool = False


def pair_rules(
    wanted: Sequence[ExpectedRule[RuleT]], seen: Sequence[RuleT], *keys: Callable[[RuleT], Hashable]
) -> tuple[list[tuple[ExpectedRule[RuleT], RuleT]], list[ExpectedRule[RuleT]], list[RuleT]]:
    """Pair expected rules with seen ones: by the first key, what is left by the second, and so on.

    A key of None pairs nothing. Returns the pairs in the expected order, the expected rules that are missing, and the
    seen rules that are surplus.
    """
    partner: dict[int, RuleT] = {}
    surplus = list(seen)
    for key in keys:
        candidates: dict[Hashable, list[RuleT]] = defaultdict(list)
        for rule in surplus:
            candidates[key(rule)].append(rule)
        for place, expected in enumerate(wanted):
            if place not in partner and key(expected.rule) is not None and candidates[key(expected.rule)]:
                partner[place] = candidates[key(expected.rule)].pop(0)
        taken = {rule.number for rule in partner.values()}
        surplus = [rule for rule in surplus if rule.number not in taken]
    pairs = [(expected, partner[place]) for place, expected in enumerate(wanted) if place in partner]
    return pairs, [expected for place, expected in enumerate(wanted) if place not in partner], surplus


def too_late(
    pairs: Sequence[tuple[ExpectedRule[RuleT], RuleT]], leaves_the_chain: Mapping[RuleKind, Sequence[RuleKind]]
) -> Iterator[tuple[ExpectedRule[RuleT], RuleT, RuleT]]:
    """Yield the pairs whose rule follows a rule at which packets leave the chain, with the first such rule.

    ``leaves_the_chain`` has, by kind, the kinds of rules that a rule must precede.
    """
    first: dict[RuleKind, RuleT] = {}
    for expected_rule, rule in pairs:
        if expected_rule.kind not in first or rule.number < first[expected_rule.kind].number:
            first[expected_rule.kind] = rule
    for expected_rule, rule in pairs:
        leaving = [first[kind] for kind in leaves_the_chain.get(expected_rule.kind, ()) if kind in first]
        earlier = min(leaving, key=lambda other: other.number, default=None)
        if earlier is not None and earlier.number < rule.number:
            yield expected_rule, rule, earlier


def out_of_order_pairs(
    pairs: Sequence[tuple[ExpectedRule[RuleT], RuleT]], *kinds: RuleKind, order: str = "in endpoint order"
) -> list[tuple[ExpectedRule[RuleT], RuleT, str, str]]:
    """Return the fewest pairs of some kinds that are out of order, each with its expected and its seen position.

    ``order`` is the phrase that names the expected order in the message.
    """
    same = [pair for pair in pairs if pair[0].kind in kinds]
    places = sorted(range(len(same)), key=lambda place: same[place][1].number)
    return [
        (
            *same[place],
            f"position {place + 1} of {len(same)}, {order}",
            f"{same[place][0].kind} rule for {same[place][0].about} at position {places.index(place) + 1}",
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
