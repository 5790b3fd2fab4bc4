"""Which endpoints answer a client, without session affinity and with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity import experiment
from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.cluster_objects.services import NO_AFFINITY, target
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.experiment import SPREAD_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.distribution import (
    judge_answers_from_list,
    judge_even_spread,
    judge_one_endpoint,
    judge_translation,
)
from session_affinity.verdicts.rules import judge_programmed
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.distribution]

SPREAD_REQUESTS = 300
STICKY_REQUESTS = 100


@claim(
    "C09",
    "Requests without affinity are spread evenly over all endpoints",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=SPREAD_FALSE_ALARM,
)
def test_requests_without_affinity_are_spread_evenly(client: Client, plain_service: ServiceState, check: Check) -> None:
    """Control for C10: a dataplane that sends everything to one endpoint would pass as affinity; also load balance.

    Preconditions: a Service without affinity over three ready endpoints, programmed on every node.
    Steps: 300 requests, each on a new connection.
    Expected: 300 answers; every endpoint answers, as evenly as chance allows at a false alarm of 1e-7.
    """
    answers = client.request(target(plain_service), count=SPREAD_REQUESTS)

    verdict = judge_even_spread(plain_service, client.pod, answers, experiment.SPREAD_FALSE_ALARM)

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
    """This is what users enable affinity for: sessions kept in one pod's memory break when a request goes elsewhere.

    Preconditions: a Service with ClientIP over three ready endpoints; a client that has sent it no request.
    Steps: 100 requests, each on a new connection.
    Expected: 100 answers, all from one endpoint.
    """
    answers = client.request(target(sticky_service), count=STICKY_REQUESTS)

    verdict = judge_one_endpoint(sticky_service, client.pod, answers)

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

    who = (client.pod, client.address)
    verdict = judge_answers_from_list(backend, sticky_service, who, answers, state=state)

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
        *(judge_translation(one, client.address, answers.of(target(one)), state) for one in services),
    )

    check(verdict)


@claim(
    "C50",
    "Switching None, ClientIP, None in place takes effect on every node",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=2 * SPREAD_FALSE_ALARM,
)
def test_switching_affinity_in_place_takes_effect(
    client: Client, services: Services, walk_service: ServiceState, testbed: Testbed, check: Check
) -> None:
    """Operators switch affinity on running Services; a node that misses the change serves its clients wrongly.

    Preconditions: the Service svc-clusterip, without affinity, over three ready endpoints.
    Steps: patch it to ClientIP, wait for the nodes, 100 requests; patch it to None, wait for the nodes, 300 requests.
    Expected: the rules of every node follow each time; one endpoint answers under ClientIP; all endpoints answer evenly
        under None again, at a false alarm of 1e-7.
    """
    since = time.monotonic()
    sticky = services.switch(walk_service, CLIENT_IP)
    on = testbed.wait_for_sync(sticky, since=since).require(client.node)
    kept = client.request(target(sticky), count=STICKY_REQUESTS)
    since = time.monotonic()
    plain = services.switch(sticky, NO_AFFINITY)
    off = testbed.wait_for_sync(plain, since=since).require(client.node)
    spread = client.request(target(plain), count=SPREAD_REQUESTS)

    verdict = combine(
        judge_programmed(sticky, on),
        judge_programmed(plain, off),
        judge_one_endpoint(sticky, client.pod, kept),
        judge_even_spread(plain, client.pod, spread, experiment.SPREAD_FALSE_ALARM),
    )

    check(verdict, headline=f"on after {on.slowest()}, off after {off.slowest()}")
