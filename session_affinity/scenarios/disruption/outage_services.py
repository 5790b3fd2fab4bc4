"""Services that exist before an outage of kube-proxy begins."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from session_affinity.cluster_objects.datagrams import udp_ports
from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, NO_AFFINITY, ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.cluster_objects.datagrams import DatagramEndpoints
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState

FLOWS: Final = 2
"""Flows of datagrams that go on during an outage."""


class Outage(StrEnum):
    """The outages that Services are created for before they begin."""

    RESTART = "restart"
    FAILING = "failing"
    BLOCKED = "blocked"


class OutageServices(NamedTuple):
    """The Services of an outage, which were created at ``since`` on the monotonic clock."""

    services: list[ServiceState]
    since: float


def prepare(
    services: Services, datagrams: DatagramEndpoints, outages: Sequence[Outage]
) -> dict[Outage, OutageServices]:
    """Create the Services of several outages together."""
    requests = {outage: _requests(outage, datagrams) for outage in outages}
    created = iter(services.create_all([each for several in requests.values() for each in several]))
    since = time.monotonic()
    return {outage: OutageServices([next(created) for _ in several], since) for outage, several in requests.items()}


def _requests(outage: Outage, datagrams: DatagramEndpoints) -> list[ServiceRequest]:
    """Return the Services that must be there when an outage begins."""
    if outage is Outage.BLOCKED:
        return [ServiceRequest("blocked", CLIENT_IP)]
    sticky = [ServiceRequest(purpose, CLIENT_IP, DEFAULT_TIMEOUT) for purpose in ("off", "patched", "deleted")]
    changed = [ServiceRequest("on", NO_AFFINITY), *sticky, _datagram_service("emptied", datagrams)]
    if outage is Outage.RESTART:
        return [ServiceRequest("restart", CLIENT_IP), _datagram_service("flowing", datagrams), *changed]
    return changed


def _datagram_service(purpose: str, datagrams: DatagramEndpoints) -> ServiceRequest:
    """Return a Service with UDP ports over the endpoints that answer datagrams."""
    ports = udp_ports(FLOWS, datagrams.port)
    return ServiceRequest(purpose, CLIENT_IP, spec={"selector": dict(datagrams.selector), "ports": ports})
