"""Services of many shapes over the sample pods: which of them answer a client, and which its node remembers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.topology import usable_endpoints
from session_affinity.traffic.answers import Answers, target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.shapes import ShapeMaker
    from session_affinity.shapes.covering import Row
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import ClientId

REQUESTS: Final = 6
"""Requests to each Service that an endpoint should answer; to the others there is one."""


@dataclass(frozen=True)
class AnsweredShape:
    """A Service of a row with the answers of the client.

    ``expected`` are the pods that may answer, by the endpoints that the client's node uses. ``entries`` are the
    client's affinity entries on its node after the requests; None where they cannot be read.
    """

    row: Row
    service: ServiceState
    expected: tuple[str, ...]
    answers: Answers
    entries: tuple[AffinityEntry, ...] | None = None


@dataclass(frozen=True)
class AnsweredShapes:
    """The answered Services of an array; ``refused`` are the reasons for rows that the cluster refuses."""

    client: ClientId
    shapes: tuple[AnsweredShape, ...]
    refused: Mapping[int, str] = field(default_factory=dict)


def expected_pods(service: ServiceState, node: str, zone: str) -> tuple[str, ...]:
    """Return the pods that may answer a pod on a node at the cluster IP."""
    port = service.ports[0]
    usable = usable_endpoints(service, port, node, zone)
    endpoints = usable.local if service.internal_policy == "Local" else usable.cluster
    return tuple(endpoint.pod for endpoint in endpoints)


def observe(testbed: Testbed, maker: ShapeMaker, rows: Sequence[Row]) -> AnsweredShapes:
    """Create the Services of rows, send them requests, read the client's node, and delete them; raises SuiteError."""
    client = testbed.client
    zones = {node.name: node.zone for node in maker.site.nodes}
    try:
        numbers, refused, _ = maker.make(rows)
        since = time.monotonic()
        services = handmade.states(*maker.services.stored(), family=testbed.services.family, release=maker.release)
        if not services:
            return AnsweredShapes(client.id, (), refused)
        testbed.wait_for_client_sync(*services, since=since)
        expected = {service: expected_pods(service, client.node, zones.get(client.node, "")) for service in services}
        answered = [target(service) for service, pods in expected.items() if pods]
        # Without an endpoint there is no answer, and perhaps no refusal.
        others = [target(service) for service, pods in expected.items() if not pods]
        answers = Answers(())
        if answered:
            answers += client.request(*answered, count=REQUESTS, name="answers of Services of many shapes")
        if others:
            answers += client.with_short_timeouts.request(*others, name="requests to Services without usable endpoints")
        entries = _entries(testbed, services)
    finally:
        maker.services.delete_all()
    shapes = tuple(
        AnsweredShape(rows[numbers[service.name]], service, pods, answers.of(target(service)), entries.get(service))
        for service, pods in expected.items()
    )
    return AnsweredShapes(client.id, shapes, refused)


def _entries(testbed: Testbed, services: Sequence[ServiceState]) -> dict[ServiceState, tuple[AffinityEntry, ...]]:
    """Return the client's affinity entries on its node by Service; none where that node cannot be read."""
    client = testbed.client
    if not testbed.reads_rules or client.node not in testbed.nodes.names:
        return {}
    state = testbed.nodes.read_one(client.node)
    hz = testbed.hz(client.node)
    return {
        service: of_client(testbed.backend.affinity_entries(state, service, hz), client.address) for service in services
    }
