"""Differences between the rules that a node has for a Service and the expected ones, in any proxy mode."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.model import Endpoint, ServiceState


class Aspect(StrEnum):
    """What a difference is about; a claim names the aspects that it covers."""

    CHAIN_NAMES = "names of chains and sets"
    ENTRY = "entry from the cluster IP to the Service's chain"
    EXTERNAL = "rules for traffic from outside the cluster"
    MASQUERADE = "masquerade mark"
    AFFINITY_PRESENCE = "one affinity rule per endpoint"
    AFFINITY_ORDER = "affinity rules in endpoint order, before balancing"
    AFFINITY_ARGUMENTS = "arguments of an affinity rule"
    BALANCING = "balancing over every endpoint"
    PROBABILITY = "balancing probability"
    TRANSLATION = "affinity update and DNAT"
    AFFINITY_STORE = "type and timeout of an affinity set"
    LEFTOVER = "leftover"
    UNEXPECTED_RULE = "unexpected rule"


@dataclass(frozen=True)
class Difference:
    """One difference between the rules of a node and the expected ones.

    ``chain`` is the name of a chain, set or map. ``rule`` counts from 1 within the chain, as in ``iptables -S CHAIN``;
    it is None when there is no rule to point at. ``reason`` names the Service, and the endpoint or the field of the
    Service from which the expectation derives.
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


def explain(differences: Sequence[Difference], service: ServiceState, affinity_stores: Mapping[str, Endpoint]) -> str:
    """Return one line per difference, then the Service and its endpoints with the affinity store of each."""
    count = f"{len(differences)} difference{'' if len(differences) == 1 else 's'}"
    lines = [f"{count} between the rules and {service.describe()}", *(f"  {difference}" for difference in differences)]
    lines += [f"endpoints of {service.key}: {'' if service.endpoints else 'none is ready'}".rstrip()]
    lines += [f"  {endpoint} {name}" for name, endpoint in affinity_stores.items()]
    return "\n".join(lines)
