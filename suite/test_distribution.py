"""Which endpoints answer clients, without affinity and with it: one client first, then many on all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity import experiment
from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.experiment import MANY_CLIENTS_FALSE_ALARM, SPREAD_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import target
from session_affinity.verdicts.distribution import (
    judge_entry_of_answer,
    judge_even_spread,
    judge_one_endpoint,
    judge_translation,
)
from session_affinity.verdicts.many_clients import judge_client_entries, judge_endpoints_kept, judge_independent_choices
from session_affinity.verdicts.rules import judge_readable_rules
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.many_clients import ManyClients
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.switches import OnAndOff
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.distribution]

CONCURRENT = 50


@claim(
    "C09",
    "Requests without affinity are spread evenly over all endpoints",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=SPREAD_FALSE_ALARM,
)
def test_requests_without_affinity_are_spread_evenly(client: Client, plain_service: ServiceState, check: Check) -> None:
    """Control for C10, which a dataplane that always uses one endpoint would pass; it also shows that load is even.

    Preconditions: a Service without affinity over three ready endpoints, programmed on every node.
    Steps: 300 requests, each on a new connection.
    Expected: 300 answers; every endpoint answers, as evenly as chance allows at a false alarm of 1e-7.
    """
    answers = client.request(target(plain_service), count=experiment.SPREAD_REQUESTS)

    verdict = judge_even_spread(plain_service, client.id, answers, experiment.SPREAD_FALSE_ALARM)

    check(verdict)


@claim(
    "C10",
    "All requests of a client reach one endpoint under ClientIP",
    promised_by=API,
    source=sources.FIELD,
)
def test_all_requests_of_a_client_reach_one_endpoint(
    client: Client, sticky_service: ServiceState, check: Check
) -> None:
    """This is what users enable affinity for: a session whose state is in one pod breaks when a request goes elsewhere.

    Preconditions: a Service with ClientIP over three ready endpoints; a client that has sent it no request.
    Steps: 100 requests, each on a new connection.
    Expected: 100 answers, all from one endpoint.
    """
    answers = client.request(target(sticky_service), count=experiment.STICKY_REQUESTS)

    verdict = judge_one_endpoint(sticky_service, client.id, answers)

    check(verdict)


@claim(
    "C13",
    "The client's affinity entry on its node belongs to the endpoint that answered",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_the_affinity_entry_belongs_to_the_endpoint_that_answered(
    client: Client, nodes: Nodes, backend: Backend, sticky_service: ServiceState, check: Check
) -> None:
    """An entry for another endpoint moves the client with its next connection, although this request was right.

    Preconditions: a Service with ClientIP over three ready endpoints; a client that has sent it no request.
    Steps: one request; read the lists or sets of the client's node.
    Expected: the client's address is in the list or set of the endpoint that answered, and in no other of the Service.
    """
    answers = client.request(target(sticky_service))
    state = nodes.read_one(client.node)

    verdict = judge_entry_of_answer(backend, sticky_service, client.id, answers, state=state)

    check(verdict)


@claim(
    "C49",
    "The conntrack entry of each connection translates to the endpoint that answered",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_conntrack_entries_translate_to_the_endpoint_that_answered(
    client: Client, nodes: Nodes, plain_service: ServiceState, sticky_service: ServiceState, check: Check
) -> None:
    """Proves that the node's DNAT chose the endpoint, not a proxy, a mesh or a second translation on the path.

    Preconditions: a Service without affinity and one with ClientIP over the same endpoints.
    Steps: 20 requests to each; read the conntrack entries of the client's node.
    Expected: for every request, identified by the client's port, the entry translates to the endpoint that answered.
    """
    services = (plain_service, sticky_service)
    answers = client.request(*map(target, services), count=20)
    state = nodes.read_one(client.node, flows=True)

    verdict = combine(
        *(judge_translation(service, client.id, answers.of(target(service)), state) for service in services),
    )

    check(verdict)


@claim(
    "C50",
    "Switching None, ClientIP, None in place takes effect on every node",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=2 * SPREAD_FALSE_ALARM,
)
def test_switching_affinity_in_place_takes_effect(client: Client, switched_on_and_off: OnAndOff, check: Check) -> None:
    """Operators switch affinity on running Services; a node that misses the change serves its clients wrongly.

    Preconditions: the Service svc-clusterip, without affinity, over three ready endpoints.
    Steps: patch it to ClientIP, wait for the nodes, 100 requests; patch it to None, wait for the nodes, 300 requests.
    Expected: the rules of every node follow each time; one endpoint answers under ClientIP; all endpoints answer evenly
        under None again, at a false alarm of 1e-7.
    """
    seen = switched_on_and_off

    verdict = combine(
        *judge_readable_rules(seen.sticky, seen.on),
        *judge_readable_rules(seen.plain, seen.off),
        judge_one_endpoint(seen.sticky, client.id, seen.kept),
        judge_even_spread(seen.plain, client.id, seen.spread, experiment.SPREAD_FALSE_ALARM),
    )

    check(verdict, headline=f"on after {seen.on.slowest()}, off after {seen.off.slowest()}")


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
    at_once = client.request_at_once(target(sticky_service), CONCURRENT)

    verdict = judge_one_endpoint(sticky_service, client.id, before + at_once.answers)

    check(verdict, headline=f"{verdict.headline}, {CONCURRENT} connections at once within {at_once.seconds:.2f} s")


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
    verdict = judge_independent_choices(many_clients.members, many_clients.services, experiment.MANY_CLIENTS_SPREAD)

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
    verdict = judge_endpoints_kept(many_clients.members, many_clients.services)

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
    verdict = judge_client_entries(
        many_clients.members, many_clients.services, many_clients.affinity_entries(nodes.read(), testbed.backend)
    )

    check(verdict)
