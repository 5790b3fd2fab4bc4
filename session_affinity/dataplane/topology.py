"""Which endpoints of a Service a node uses: all of them, those of its zone, or its own.

Source: kube-proxy's pkg/proxy/topology.go (CategorizeEndpoints, topologyModeFromHints), the same in this part from 1.33
on. Hints for nodes come with the feature PreferSameTrafficDistribution (on from 1.34): where the control plane of a
cluster writes them, its kube-proxy heeds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState


@dataclass(frozen=True)
class Reached:
    """The endpoints that a node uses for traffic of the policies Cluster and Local; none where a policy is not used."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]


def reached(service: ServiceState, port: ServicePort, node: str, zone: str = "") -> Reached:
    """Return the endpoints of a port that a node uses; ``zone`` is the node's, empty where it has none."""
    return Reached(
        _preferred(port.endpoints, node, zone) if service.uses_cluster_endpoints else (),
        own(port, node) if service.uses_local_endpoints else (),
    )


def own(port: ServicePort, node: str) -> tuple[Endpoint, ...]:
    """Return a node's own endpoints of a port: those that are ready, and where none is, those that still serve."""
    ready, serving_terminating = (
        tuple(one for one in some if one.node == node) for some in (port.endpoints, port.serving_terminating)
    )
    return ready or serving_terminating


def _preferred(endpoints: Sequence[Endpoint], node: str, zone: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that are meant for the node or its zone; all where one has no hint, or none is meant."""
    for_node = tuple(one for one in endpoints if node in one.for_nodes)
    if for_node and all(one.for_nodes for one in endpoints):
        return for_node
    for_zone = tuple(one for one in endpoints if zone in one.for_zones)
    if for_zone and all(one.for_zones for one in endpoints):
        return for_zone
    return tuple(endpoints)
