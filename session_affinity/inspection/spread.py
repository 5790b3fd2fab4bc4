"""How many clients are bound to each endpoint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.inspection.observation import port_in_words

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Endpoint, Family
    from session_affinity.inspection.observation import Observation


@dataclass(frozen=True)
class EndpointShare:
    """The number of clients that nodes bind to an endpoint; a client that two nodes bind counts twice."""

    family: Family
    port: str
    endpoint: Endpoint
    clients: int


def spread_of(observation: Observation) -> tuple[EndpointShare, ...]:
    """Return the share of every endpoint of every port, in kube-proxy's order; empty where no node was read."""
    if not observation.binds_clients:
        return ()
    counts = Counter((binding.family, binding.port, binding.endpoint.at) for binding in observation.live_bindings)
    return tuple(
        EndpointShare(family, port_in_words(port), endpoint, counts[family, port_in_words(port), endpoint.at])
        for family, state in observation.objects.states.items()
        for port in state.ports
        for endpoint in port.endpoints
    )
