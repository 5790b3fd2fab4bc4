"""Services of many shapes over the sample pods: which of them answer a client, and which its node remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.capacity import NoRoomError
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.topology import usable_endpoints
from session_affinity.traffic.answers import Answers, target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.shapes import Batch, ShapeMaker
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
    """The answered Services of an array; ``refused`` are the reasons for rows that the cluster refuses.

    ``lacking`` says why some were not made, for lack of room.
    """

    client: ClientId
    shapes: tuple[AnsweredShape, ...]
    refused: Mapping[int, str] = field(default_factory=dict)
    lacking: str = ""


def expected_pods(service: ServiceState, node: str, zone: str, *, with_node_hints: bool = True) -> tuple[str, ...]:
    """Return the pods that may answer a pod on a node at the cluster IP; hints for nodes count if asked for."""
    port = service.ports[0]
    usable = usable_endpoints(service, port, node, zone, with_node_hints=with_node_hints)
    endpoints = usable.local if service.internal_policy == "Local" else usable.cluster
    return tuple(endpoint.pod for endpoint in endpoints)


def observe(testbed: Testbed, maker: ShapeMaker, rows: Sequence[Row]) -> AnsweredShapes:
    """Create the Services of rows, send them requests, read the client's node, and delete them.

    Where not all may exist at the same time this is done in batches. Raises SuiteError.
    """
    shapes: list[AnsweredShape] = []
    refused: dict[int, str] = {}
    lacking = ""
    try:
        for batch in maker.batches(maker.objects(rows)):
            try:
                shapes += _answered(testbed, maker, batch, rows)
            finally:
                maker.services.delete_all()
            refused |= batch.refused
    except NoRoomError as error:
        lacking = str(error)
    return AnsweredShapes(testbed.client.id, tuple(shapes), refused, lacking)


def _answered(testbed: Testbed, maker: ShapeMaker, batch: Batch, rows: Sequence[Row]) -> Iterator[AnsweredShape]:
    """Yield the Services of a batch with the client's answers."""
    client = testbed.client
    zones = {node.name: node.zone for node in maker.site.nodes}
    proxy = testbed.proxy_configs.of_any(client.node)
    release = proxy.expected_release
    services = handmade.states(*maker.services.stored(), family=testbed.services.family, release=release)
    if not services:
        return
    testbed.wait_for_client_sync(*services, since=batch.since)
    zone, with_node_hints = zones.get(client.node, ""), proxy.follows_node_hints
    expected = {
        service: expected_pods(service, client.node, zone, with_node_hints=with_node_hints) for service in services
    }
    answered = [target(service) for service, pods in expected.items() if pods]
    # Without an endpoint there is no answer, and perhaps no refusal.
    others = [target(service) for service, pods in expected.items() if not pods]
    answers = Answers(())
    if answered:
        answers += client.request(*answered, count=REQUESTS, name="answers of Services of many shapes")
    if others:
        answers += client.with_short_timeouts.request(*others, name="requests to Services without usable endpoints")
    entries = _entries(testbed, services)
    for service, pods in expected.items():
        row = rows[batch.numbers[service.name]]
        yield AnsweredShape(row, service, pods, answers.of(target(service)), entries.get(service))


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
