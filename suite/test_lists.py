"""Whom the nodes remember, and that the memory is what binds a client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, sources
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
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.lists]


@claim(
    "C21",
    "A client is in exactly one list, with a stamp for each connection",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
def test_a_client_is_in_one_list_with_a_stamp_a_connection(
    client: Client, nodes: Nodes, sticky_service: ServiceState, check: Check
) -> None:
    """A client is in exactly one list, with a stamp for each connection.

    Preconditions: a Service with ClientIP; a client that never asked it.
    Steps: read the lists of the client's node; after 20 requests, and after 20 more, read them again.
    Expected: no entry at first; then one live entry of the client with 20 stamps, then one with 32, the most it keeps.
    """
    rounds = [(0, nodes.read_one(client.node))]
    for connections in (20, 40):
        client.request(target(sticky_service), count=20, name=f"requests up to {connections}")
        rounds.append((connections, nodes.read_one(client.node)))

    verdict = judge_one_entry(sticky_service, client.address, rounds, nodes.hz(client.node))

    check(verdict)


@claim(
    "C21s",
    "A client is in exactly one set, for as long as the timeout says",
    promised_by=KUBE_PROXY,
    source=sources.NFT_DYNSET,
    modes=NFTABLES,
)
def test_a_client_is_in_one_set_for_as_long_as_the_timeout_says(
    client: Client, nodes: Nodes, sticky_service: ServiceState, check: Check
) -> None:
    """A client is in exactly one set, for as long as the timeout says: what C21 says of lists.

    Preconditions: a Service with ClientIP and 10800 seconds; a client that never asked it.
    Steps: read the sets of the client's node; after 20 requests read them again.
    Expected: no element of the client at first; then one, with 10800 seconds left but for the time that went by.
    """
    before = nodes.read_one(client.node)
    since = time.monotonic()
    client.request(target(sticky_service), count=20)
    after = nodes.read_one(client.node)
    seconds = time.monotonic() - since

    verdict = judge_one_element(sticky_service, client.address, before, after, seconds=seconds)

    check(verdict)


@claim(
    "C21n",
    "Nodes that the client is not on do not know it",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_other_nodes_do_not_know_the_client(
    client: Client, nodes: Nodes, sticky_service: ServiceState, testbed: Testbed, check: Check
) -> None:
    """Nodes that the client is not on do not know it: the control for C21.

    Preconditions: a Service with ClientIP; a client that never asked it.
    Steps: wait for every node; 20 requests; read the lists or sets of every node.
    Expected: every other node has the three of the Service, without an entry.
    """
    testbed.wait_for_sync(sticky_service, since=time.monotonic())
    client.request(target(sticky_service), count=20)
    states = nodes.read()

    verdict = judge_strangers(testbed.backend, sticky_service, (client.address, client.node), states)

    check(verdict)


@claim(
    "C26",
    "Switching to None clears all affinity entries; switching back starts empty",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_none_forgets_all_clients(
    client: Client,
    nodes: Nodes,
    sticky_service: ServiceState,
    testbed: Testbed,
    check: Check,
) -> None:
    """None forgets all clients, and ClientIP again starts with none.

    Preconditions: a Service with ClientIP that remembers a client.
    Steps: patch it to None, and when the nodes have followed, back to ClientIP; read the lists or sets of every node
        each time.
    Expected: none of the Service under None; three empty ones under ClientIP again, on every node.
    """
    client.request(target(sticky_service))
    since = time.monotonic()
    plain = testbed.services.switch(sticky_service, NO_AFFINITY)
    without = testbed.wait_for_sync(plain, since=since)
    since = time.monotonic()
    again = testbed.services.switch(plain, CLIENT_IP)
    testbed.wait_for_sync(again, since=since)
    states = nodes.read()

    verdict = judge_forgotten(testbed.backend, again, without.states, states)

    check(verdict)


@claim(
    "C52",
    "Moving the entry moves the client",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_moving_the_entry_moves_the_client(
    client: Client, nodes: Nodes, backend: Backend, sticky_service: ServiceState, check: Check
) -> None:
    """Moving the entry moves the client: the lists or sets are the cause, not a coincidence.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: for each endpoint in turn, remove the client from all lists or sets of its node, add it to that endpoint's,
        and send 5 requests.
    Expected: all 5 are answered by that endpoint, each time.
    """
    followed = []
    for memory, endpoint in backend.affinity_stores(sticky_service).items():
        nodes.run(client.node, backend.pin_argv(sticky_service, client.address, memory)).check()
        followed.append((endpoint, client.request(target(sticky_service), count=5)))

    verdict = judge_follows(sticky_service, client.node, followed)

    check(verdict)
