"""A Service among a thousand others.

To kube-proxy each Service port is a Service of its own, with its own chains, rules and affinity entries. So ten
Services with a hundred ports each are enough, and the API creates them quickly. With the endpoints of other Services
the total exceeds 1000, above which kube-proxy in iptables mode writes no comments and delays the cleanup of chains
(largeClusterEndpointsThreshold in pkg/proxy/iptables/proxier.go).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.pods import PodRequest, Role
from session_affinity.cluster_objects.services import ServiceRequest, tcp_ports
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.traffic.answers import target

if TYPE_CHECKING:
    import contextlib

    from session_affinity.cluster_objects.pods import Pods
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers

SERVICES: Final = 10
PORTS: Final = range(20001, 20101)
LABEL: Final = {"many-services": "yes"}
REQUESTS: Final = 100


@dataclass(frozen=True)
class ManyServices:
    """Two Services over the sample pods, one created before the thousand and one after, and a client's answers.

    ``first`` are the answers of the Service ``before`` without the others, ``again`` those with them. ``answers`` are
    those of the Service ``after``. ``sync`` is the sync of both Services among the others.
    """

    before: ServiceState
    after: ServiceState
    first: Answers
    again: Answers
    answers: Answers
    sync: SyncResult


@dataclass(frozen=True)
class CreatedMany:
    """The answer of the Service before the thousand, and the Service after them.

    That was created at ``since`` on the monotonic clock, when they all existed.
    """

    first: Answers
    after: ServiceState
    since: float


@dataclass(frozen=True)
class ServiceBeforeMany:
    """The Service before the others, created at ``since`` on the monotonic clock, and the pod that answers them."""

    before: ServiceState
    since: float
    pod: str


def prepare(services: Services, pods: Pods) -> ServiceBeforeMany:
    """Create what must be there before the thousand; raises SuiteError."""
    before, since = services.create(ServiceRequest("before", CLIENT_IP)), time.monotonic()
    (pod,) = pods.run(PodRequest("many", (Role.ENDPOINT,), LABEL))
    return ServiceBeforeMany(before, since, pod["metadata"]["name"])


def create(testbed: Testbed, pods: Pods, prepared: ServiceBeforeMany, at_end: contextlib.ExitStack) -> CreatedMany:
    """Send a request to the Service before the thousand, create these and one after them; raises SuiteError.

    ``at_end`` gets what deletes them all.
    """
    client, services, before = testbed.client, testbed.services, prepared.before
    at_end.callback(pods.delete, prepared.pod)
    at_end.callback(services.delete, before)
    testbed.wait_for_client_sync(before, since=prepared.since)
    first = client.request(target(before))
    for service in services.create_all([_many_ports()] * SERVICES):
        at_end.callback(services.delete, service)
    since = time.monotonic()
    after = services.create(ServiceRequest("after", CLIENT_IP))
    at_end.callback(services.delete, after)
    return CreatedMany(first, after, since)


def observe(testbed: Testbed, before: ServiceState, created: CreatedMany) -> ManyServices:
    """Wait until the nodes have the Services before and after the thousand, and send requests to both.

    Raises SuiteError.
    """
    client, after, since = testbed.client, created.after, created.since
    # The thousand are in the same sync, which takes longer for it: late nodes get the time of another. Until one has
    # them, reads of the others would only take processor time.
    testbed.wait_for_sync(before, after, since=since, nodes=(client.node,))
    sync = testbed.wait_for_sync(before, after, since=since)
    answers = client.request(target(after), count=REQUESTS)
    return ManyServices(before, after, created.first, client.request(target(before), count=REQUESTS), answers, sync)


def _many_ports() -> ServiceRequest:
    return ServiceRequest("many", CLIENT_IP, spec={"selector": LABEL, "ports": tcp_ports(PORTS)}, endpoints=1)
