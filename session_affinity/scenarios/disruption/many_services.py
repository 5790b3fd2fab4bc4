"""A Service among a thousand others.

To kube-proxy every port of a Service is one of its own: chains, rules and memories go by port. So the thousand are ten
Services of a hundred ports, which the API makes in a moment. With the endpoints that others have they are more than a
thousand, from where on kube-proxy leaves comments out and puts off cleaning up (pkg/proxy/iptables/proxier.go,
largeClusterEndpointsThreshold).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.pods import PodWish, Role
from session_affinity.cluster_objects.services import Wish, target
from session_affinity.dataplane.model import CLIENT_IP

if TYPE_CHECKING:
    from session_affinity.cluster_objects.pods import Pods
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.testbed.testbed import Programming, Settled
    from session_affinity.traffic.answers import Answers

SERVICES: Final = 10
PORTS: Final = 100
FIRST_PORT: Final = 20001
LABEL: Final = {"crowd": "yes"}
REQUESTS: Final = 100


@dataclass(frozen=True)
class Crowd:
    """Two Services over the sample pods, one made before the thousand and one after, and what a client saw of them.

    ``first`` are its answers from the one made ``before`` when there were no others, ``again`` those when there were.
    ``settled`` says how both came to the nodes among them.
    """

    before: ServiceState
    after: ServiceState
    first: Answers
    again: Answers
    answers: Answers
    settled: Settled


def observe(programming: Programming, pods: Pods) -> Crowd:
    """Make the thousand, and a Service before and after them, and ask both; raises SuiteError."""
    client, services = programming.client, programming.services
    since = time.monotonic()
    before = services.create(Wish("before", CLIENT_IP))
    programming.settle_client(before, since=since)
    first = client.request(target(before))
    (pod,) = pods.run(PodWish("crowd", (Role.ENDPOINT,), LABEL))
    made = [before]
    try:
        made += services.create_all([_many()] * SERVICES)
        since = time.monotonic()
        after = services.create(Wish("after", CLIENT_IP))
        made.append(after)
        settled = programming.settle(before, after, since=since)
        answers = client.request(target(after), count=REQUESTS)
        return Crowd(before, after, first, client.request(target(before), count=REQUESTS), answers, settled)
    finally:
        for service in made:
            services.delete(service)
        pods.delete(pod["metadata"]["name"])


def _many() -> Wish:
    ports = [
        {"name": f"p{number}", "port": number, "targetPort": 80, "protocol": "TCP"}
        for number in range(FIRST_PORT, FIRST_PORT + PORTS)
    ]
    return Wish("crowd", CLIENT_IP, spec={"selector": LABEL, "ports": ports}, endpoints=1)
