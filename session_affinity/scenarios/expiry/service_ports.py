"""Services with several ports, each port for a trial of its own.

To kube-proxy each Service port is a Service of its own, with rules and affinity entries of its own
(``ServicePortName`` in pkg/proxy/types.go), and a few Services with several ports are created, patched and followed
sooner than many with one. Other dataplanes may have one entry for all ports of a Service, so that their trials would
not be independent: there each has a Service of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import PORT, ServiceRequest, tcp_ports
from session_affinity.dataplane.model import CLIENT_IP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.testbed.testbed import Testbed

MOST_PORTS: Final = 5
"""How many ports a Service has at most: each group has several Services, for what goes wrong with one of them."""


def requests(testbed: Testbed, purpose: str, timeout_seconds: int, trials: int) -> list[ServiceRequest]:
    """Return requests for Services with ClientIP that have so many ports together, each of them about as many."""
    count = math.ceil(trials / MOST_PORTS) if testbed.reads_rules else trials
    sizes = [trials // count + (number < trials % count) for number in range(count)]
    return [
        ServiceRequest(purpose, CLIENT_IP, timeout_seconds, spec={"ports": tcp_ports(range(PORT, PORT + size))})
        for size in sizes
    ]


def each_port(services: Iterable[ServiceState]) -> tuple[ServiceState, ...]:
    """Return Services as states with one port each: what a trial at this port is about."""
    return tuple(state for service in services for state in service.by_port())
