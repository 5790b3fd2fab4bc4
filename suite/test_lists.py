"""Whom the nodes remember, and that the memory is what binds a client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity.cluster_objects.services import NO_AFFINITY, target
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.lists import (
    judge_follows,
    judge_forgotten,
    judge_one_element,
    judge_one_entry,
    judge_strangers,
)

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Dataplane
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.evidence import Evidence
    from session_affinity.testbed.testbed import Programming
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.lists]


@claim("C21")
def test_a_client_is_in_one_list_with_a_stamp_a_connection(
    client: Client, nodes: Nodes, sticky_service: ServiceState, evidence: Evidence
) -> None:
    """A client is in exactly one list, with a stamp for each connection.

    Preconditions: a Service with ClientIP; a client that never asked it.
    Steps: read the lists of the client's node; after 20 requests, and after 20 more, read them again.
    Expected: no entry at first; then one live entry of the client with 20 stamps, then one with 32, the most it keeps.
    """
    rounds = [(0, nodes.read_one(client.node))]
    for connections in (20, 40):
        answers = client.request(target(sticky_service), count=20)
        evidence.answers(f"answers up to {connections}", answers)
        rounds.append((connections, nodes.read_one(client.node)))

    verdict = judge_one_entry("C21", sticky_service, client.address, rounds, nodes.hz(client.node))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C21s")
def test_a_client_is_in_one_set_for_as_long_as_the_timeout_says(
    client: Client, nodes: Nodes, sticky_service: ServiceState, evidence: Evidence
) -> None:
    """A client is in exactly one set, for as long as the timeout says: what C21 says of lists.

    Preconditions: a Service with ClientIP and 10800 seconds; a client that never asked it.
    Steps: read the sets of the client's node; after 20 requests read them again.
    Expected: no element of the client at first; then one, with 10800 seconds left but for the time that went by.
    """
    before = nodes.read_one(client.node)
    since = time.monotonic()
    answers = client.request(target(sticky_service), count=20)
    evidence.answers("answers", answers)
    after = nodes.read_one(client.node)
    seconds = time.monotonic() - since

    verdict = judge_one_element("C21s", sticky_service, client.address, before, after, seconds=seconds)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C21n")
def test_other_nodes_do_not_know_the_client(
    client: Client, nodes: Nodes, sticky_service: ServiceState, programming: Programming, evidence: Evidence
) -> None:
    """Nodes that the client is not on do not know it: the control for C21.

    Preconditions: a Service with ClientIP; a client that never asked it.
    Steps: wait for every node; 20 requests; read the lists or sets of every node.
    Expected: every other node has the three of the Service, without an entry.
    """
    programming.settle(sticky_service, since=time.monotonic())
    client.request(target(sticky_service), count=20)
    states = nodes.read()

    verdict = judge_strangers("C21n", programming.dataplane, sticky_service, (client.address, client.node), states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C26")
def test_none_forgets_all_clients(
    client: Client,
    nodes: Nodes,
    sticky_service: ServiceState,
    programming: Programming,
    evidence: Evidence,
) -> None:
    """None forgets all clients, and ClientIP again starts with none.

    Preconditions: a Service with ClientIP that remembers a client.
    Steps: patch it to None, and when the nodes have followed, back to ClientIP; read the lists or sets of every node
        each time.
    Expected: none of the Service under None; three empty ones under ClientIP again, on every node.
    """
    client.request(target(sticky_service))
    since = time.monotonic()
    plain = programming.services.switch(sticky_service, NO_AFFINITY)
    without = programming.settle(plain, since=since)
    since = time.monotonic()
    again = programming.services.switch(plain, CLIENT_IP)
    programming.settle(again, since=since)
    states = nodes.read()

    verdict = judge_forgotten("C26", programming.dataplane, again, without.states, states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C52")
def test_moving_the_entry_moves_the_client(
    client: Client, nodes: Nodes, dataplane: Dataplane, sticky_service: ServiceState, evidence: Evidence
) -> None:
    """Moving the entry moves the client: the lists or sets are the cause, not a coincidence.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: for each endpoint in turn, remove the client from all lists or sets of its node, add it to that endpoint's,
        and send 5 requests.
    Expected: all 5 are answered by that endpoint, each time.
    """
    followed = []
    for memory, endpoint in dataplane.memories(sticky_service).items():
        nodes.run(client.node, dataplane.pinning(sticky_service, client.address, memory)).check()
        followed.append((endpoint, client.request(target(sticky_service), count=5)))

    verdict = judge_follows("C52", sticky_service, client.node, followed)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()
