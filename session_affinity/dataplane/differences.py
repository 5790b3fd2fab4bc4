"""Ways in which a node is not what a Service calls for, told alike for every dataplane."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Endpoint, ServiceState


class Aspect(StrEnum):
    """What a difference is about; a claim selects the aspects it speaks of."""

    CHAIN_NAMES = "names of chains and sets"
    ENTRY = "entry to the Service's chain"
    EXTERNAL = "way for traffic from outside"
    MASQUERADE = "mark for masquerading"
    AFFINITY_PRESENCE = "affinity rule per endpoint"
    AFFINITY_ORDER = "affinity rules before balancing, in endpoint order"
    AFFINITY_ARGUMENTS = "what an affinity rule asks"
    BALANCING = "balancing over every endpoint"
    PROBABILITY = "probability"
    TRANSLATION = "remembering and DNAT"
    MEMORY = "what remembers an endpoint's clients"
    LEFTOVER = "leftover"
    UNEXPECTED_RULE = "unexpected rule"


@dataclass(frozen=True)
class Difference:
    """One way in which a node's rules are not what they should be.

    ``chain`` is the name of a chain, set or map. ``rule`` counts from 1 within the chain, as in ``iptables -S CHAIN``;
    it is None when no rule is there.
    """

    node: str
    chain: str
    rule: int | None
    aspect: Aspect
    expected: str
    seen: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.node} {self.chain}" + (f" rule {self.rule}" if self.rule else "")
        return f"{where}: {self.seen}, expected {self.expected} ({self.reason})"


def of_aspect(differences: Iterable[Difference], *aspects: Aspect) -> tuple[Difference, ...]:
    """Return the differences of the given aspects."""
    return tuple(difference for difference in differences if difference.aspect in aspects)


def explain(differences: Sequence[Difference], service: ServiceState, affinity_stores: Mapping[str, Endpoint]) -> str:
    """Return the differences line by line, then the Service and its endpoints with what remembers their clients."""
    count = f"{len(differences)} difference{'' if len(differences) == 1 else 's'}"
    lines = [f"{count} between the rules and {service.describe()}", *(f"  {one}" for one in differences)]
    lines += [f"endpoints of {service.key}: {'' if service.endpoints else 'none is ready'}".rstrip()]
    lines += [f"  {endpoint} {name}" for name, endpoint in affinity_stores.items()]
    return "\n".join(lines)
