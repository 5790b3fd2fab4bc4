"""Differences between the rules that a node has for a Service and the expected ones, in any proxy mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    REFUSAL = "refusal of traffic that no endpoint can take"
    FIREWALL = "source ranges of a load balancer"
    HEALTH_CHECK = "health check node port"
    FORWARDING = "forwarding of Service traffic"
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


@dataclass(frozen=True)
class Leftovers:
    """What a node has although no Service calls for it.

    ``differences`` must not be there. ``deferred`` is what kube-proxy may rightly have for now: chains that no rule
    leads to, whose deletion it puts off.
    """

    differences: tuple[Difference, ...] = ()
    deferred: tuple[Difference, ...] = ()


def nearest(service: ServiceState, alternatives: Iterable[tuple[Difference, ...]]) -> tuple[Difference, ...]:
    """Return the fewest differences that a Service's alternatives have; none as soon as one alternative has none.

    ``alternatives`` are the differences from each state that kube-proxy may have (``ServiceState.alternatives``), drawn
    one by one. Where not all of them are tried, only the differences that all tried ones have are returned.
    """
    tried: list[tuple[Difference, ...]] = []
    for differences in alternatives:
        if not differences:
            return ()
        tried.append(differences)
    fewest = min(tried, key=len)
    if service.has_untried_orders:
        fewest = tuple(difference for difference in fewest if all(difference in other for other in tried))
    if not service.undefined_endpoints:
        return fewest
    undefined = ", ".join(service.undefined_endpoints)
    note = f"slices disagree about {undefined}; the rules of any order of the slices would do"
    return tuple(replace(difference, reason=f"{difference.reason}; {note}") for difference in fewest)


def explain(differences: Sequence[Difference], service: ServiceState, affinity_stores: Mapping[str, Endpoint]) -> str:
    """Return one line per difference, then the Service and its endpoints with the affinity store of each."""
    count = f"{len(differences)} difference{'' if len(differences) == 1 else 's'}"
    lines = [f"{count} between the rules and {service.describe()}", *(f"  {difference}" for difference in differences)]
    lines += [f"endpoints of {service.key}: {'' if service.endpoints else 'none is ready'}".rstrip()]
    lines += [f"  {endpoint} {name}" for name, endpoint in affinity_stores.items()]
    return "\n".join(lines)
