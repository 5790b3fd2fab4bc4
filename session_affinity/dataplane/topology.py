"""The endpoints that a node uses for a Service: all of them, those of its zone, or its local ones.

Source: kube-proxy's pkg/proxy/topology.go (CategorizeEndpoints, topologyModeFromHints), unchanged in this part from
1.33 on. Node hints come with the feature PreferSameTrafficDistribution (``ProxyConfig.follows_node_hints``).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState


@dataclass(frozen=True)
class UsableEndpoints:
    """The endpoints that a node uses under the traffic policies Cluster and Local; empty for a policy not in use."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]


def usable_endpoints(
    service: ServiceState, port: ServicePort, node: str, zone: str = "", *, with_node_hints: bool = True
) -> UsableEndpoints:
    """Return the endpoints of a port that a node uses; ``zone`` is the node's, empty when it has none.

    Hints choose among ready endpoints only: terminating endpoints that replace them are used whatever their hints are.
    Without ``with_node_hints`` hints for nodes are overlooked.
    """
    hinted_node = node if with_node_hints else ""
    cluster = _hinted(port.endpoints, hinted_node, zone) if port.has_ready_endpoints else port.endpoints
    return UsableEndpoints(
        cluster if service.uses_cluster_endpoints(port) else (),
        local_endpoints(port, node) if service.uses_local_endpoints(port) else (),
    )


def local_endpoints(port: ServicePort, node: str) -> tuple[Endpoint, ...]:
    """Return a port's endpoints on a node: the ready ones, or while none is ready the terminating ones that serve."""
    ready, serving_terminating = (
        tuple(endpoint for endpoint in endpoints if endpoint.node == node)
        for endpoints in (port.endpoints, port.serving_terminating)
    )
    return ready or serving_terminating


def includes(ranges: tuple[str, ...], address: str | None) -> bool | None:
    """Return whether one of a load balancer's source ranges contains an address; None when it is not known."""
    if address is None:
        return None
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(source) for source in ranges)


def _hinted(endpoints: Sequence[Endpoint], node: str, zone: str) -> tuple[Endpoint, ...]:
    """Return the endpoints with a hint for the node or its zone; all of them when one lacks a hint or none matches."""
    for_node = tuple(endpoint for endpoint in endpoints if node in endpoint.for_nodes)
    if for_node and all(endpoint.for_nodes for endpoint in endpoints):
        return for_node
    for_zone = tuple(endpoint for endpoint in endpoints if zone in endpoint.for_zones)
    if for_zone and all(endpoint.for_zones for endpoint in endpoints):
        return for_zone
    return tuple(endpoints)
