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
    "Connections opened at once by a client all reach its endpoint",
    promised_by=API,
    source=sources.FIELD,
)
def test_connections_at_once_reach_one_endpoint(client: Client, sticky_service: ServiceState, check: Check) -> None:
    """Connections opened at once by a client all reach its endpoint.

    Preconditions: a Service with ClientIP over three ready endpoints; a client that asked it once and so has an
        endpoint. (Of a client that never asked, two connections may be let in before either is remembered.)
    Steps: open 50 connections, each with a request whose answer is held back until all of them are open.
    Expected: 50 answers, all of the endpoint that answered before.
    """
    before = client.request(target(sticky_service))
    at_once = client.request_at_once(target(sticky_service), AT_ONCE)

    verdict = judge_one_endpoint(sticky_service, client.pod, before + at_once.answers)

    check(verdict, headline=f"{verdict.headline}, {AT_ONCE} at once within {at_once.seconds:.2f} s")


@claim(
    "C11",
    "Clients choose endpoints independently of each other, and evenly",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=MANY_CLIENTS_FALSE_ALARM,
)
def test_clients_choose_independently(many_clients: ManyClients, check: Check) -> None:
    """Clients choose endpoints independently of each other, and evenly.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP over the same three endpoints, which
        none of them asked.
    Steps: every client asks every Service once.
    Expected: no two clients choose alike at all 20 Services (by chance 28 pairs do so with 3^-20 each: 8e-9); the 160
        choices are spread as evenly as chance allows at a false alarm of 1e-8.
    """
    verdict = judge_independent(many_clients.members, many_clients.services, experiment.MANY_CLIENTS_SPREAD)

    check(verdict)


@claim(
    "C12",
    "Every client on every node keeps the endpoint of its first request",
    promised_by=API,
    source=sources.FIELD,
)
def test_every_client_keeps_its_endpoint(many_clients: ManyClients, check: Check) -> None:
    """Every client on every node keeps the endpoint of its first request, also one that shares a node with endpoints.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP, which none of them asked.
    Steps: three rounds, in each of which every client asks every Service, while others ask them too.
    Expected: 480 answers; for each client and Service, all three by one endpoint.
    """
    verdict = judge_each_keeps(many_clients.members, many_clients.services)

    check(verdict)


@claim(
    "C59",
    "Of many clients each is remembered on its own node alone",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_each_client_is_remembered_on_its_own_node(
    many_clients: ManyClients, nodes: Nodes, testbed: Testbed, check: Check
) -> None:
    """Of many clients each is remembered on its own node alone, bound to the endpoint that answered it.

    Preconditions: 8 clients on all nodes that take pods; 20 Services with ClientIP, which each of them has asked.
    Steps: read whom every node remembers.
    Expected: for each Service and client, the client's node remembers it for the endpoint that answered and for no
        other; the other nodes do not remember it.
    """
    verdict = judge_each_remembered(
        many_clients.members, many_clients.services, many_clients.affinity_entries(nodes.read(), testbed.backend)
    )

    check(verdict)
