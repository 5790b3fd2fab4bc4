"""Many clients: on every node, of the same Services, and with many connections at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from session_affinity import experiment
from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.cluster_objects.services import target
from session_affinity.experiment import MANY_CLIENTS_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.distribution import judge_one_endpoint
from session_affinity.verdicts.many_clients import judge_each_keeps, judge_each_remembered, judge_independent

if TYPE_CHECKING:
    from fixtures.many_clients import ManyClients
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.distribution]

AT_ONCE: Final = 50


@claim(
    "C58",
    "50 concurrent connections of a client all reach its endpoint",
    promised_by=API,
    source=sources.FIELD,
)
def test_concurrent_connections_reach_one_endpoint(client: Client, sticky_service: ServiceState, check: Check) -> None:
    """Browsers and connection pools open connections in parallel; a race would split one session over several pods.

    Preconditions: a Service with ClientIP over three ready endpoints; a client that is bound to one of them by an
        earlier request. (A new client may get two endpoints: two connections can pass before either has made an entry.)
    Steps: open 50 connections, each with a request whose answer is delayed until all of them are open.
    Expected: 50 answers, all from the endpoint that answered before.
    """
    before = client.request(target(sticky_service))
    at_once = client.request_at_once(target(sticky_service), AT_ONCE)

    verdict = judge_one_endpoint(sticky_service, client.pod, before + at_once.answers)

    check(verdict, headline=f"{verdict.headline}, {AT_ONCE} at once within {at_once.seconds:.2f} s")


@claim(
    "C11",
    "Clients choose their endpoints independently of each other, and evenly",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=MANY_CLIENTS_FALSE_ALARM,
)
def test_clients_choose_independently_and_evenly(many_clients: ManyClients, check: Check) -> None:
    """When clients share an affinity entry, or all start at one endpoint, that pod carries the load of the cluster.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP over the same three endpoints, to
        which no client has sent a request.
    Steps: every client sends one request to every Service.
    Expected: no two clients choose the same endpoints at all 20 Services (by chance one of the 28 pairs does so with at
        most 28 * 3^-20 = 8e-9); the 160 choices are spread as evenly as chance allows at a false alarm of 1e-8.
    """
    verdict = judge_independent(many_clients.members, many_clients.services, experiment.MANY_CLIENTS_SPREAD)

    check(verdict)


@claim(
    "C12",
    "Every client on every node keeps the endpoint of its first request",
    promised_by=API,
    source=sources.FIELD,
)
def test_every_client_keeps_its_first_endpoint(many_clients: ManyClients, check: Check) -> None:
    """Affinity must hold while others use the same Service, also for clients that share a node with endpoints.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP, to which no client has sent a
        request.
    Steps: three rounds, in each of which every client sends one request to every Service, while other clients do the
        same.
    Expected: 480 answers; for each client and Service all three answers are from one endpoint.
    """
    verdict = judge_each_keeps(many_clients.members, many_clients.services)

    check(verdict)


@claim(
    "C59",
    "Each of many clients has its affinity entry on its own node only",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_each_client_has_its_entry_on_its_own_node_only(
    many_clients: ManyClients, nodes: Nodes, testbed: Testbed, check: Check
) -> None:
    """Entries on other nodes, or for other endpoints, would bind a client to a pod that never answered it.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP, to each of which every client has
        sent requests.
    Steps: read the affinity entries of every node.
    Expected: for each Service and client, the client's node has one entry, for the endpoint that answered; the other
        nodes have none.
    """
    verdict = judge_each_remembered(
        many_clients.members, many_clients.services, many_clients.affinity_entries(nodes.read(), testbed.backend)
    )

    check(verdict)
