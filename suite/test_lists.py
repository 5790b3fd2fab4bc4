"""Affinity entries on each node, and that they are what binds a client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, sources
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Answers, target
from session_affinity.verdicts.lists import (
    EntryRound,
    judge_entries_cleared,
    judge_moved_entries,
    judge_one_element,
    judge_one_entry,
    judge_other_nodes,
)

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.switches import OffAndOn
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.lists]


@claim(
    "C21",
    "A client is in exactly one recent list, with one stamp per connection",
    promised_by=KUBE_PROXY,
    source=sources.XT_RECENT,
    modes=IPTABLES,
)
def test_a_client_is_in_one_list_with_one_stamp_per_connection(
    client: Client, nodes: Nodes, sticky_service: ServiceState, check: Check
) -> None:
    """A client in two lists is bound by rule order; one without fresh stamps expires in the middle of its session.

    Preconditions: a Service with ClientIP; a client that has sent it no request.
    Steps: read the lists of the client's node; read them again after 20 requests, and after 20 more.
    Expected: no entry at first; then one live entry of the client with 20 stamps; then one with 32, the most that a
        list keeps.
    """
    answers, before = Answers(()), client.syns_sent_again()
    rounds = [EntryRound(answers, nodes.read_one(client.node), 0)]
    for connections in (20, 40):
        answers += client.request(target(sticky_service), count=20, name=f"requests up to {connections}")
        state = nodes.read_one(client.node)
        rounds.append(EntryRound(answers, state, client.syns_sent_again() - before))

    verdict = judge_one_entry(sticky_service, client.id, rounds, nodes.hz(client.node))

    check(verdict)


@claim(
    "C21s",
    "A client is in exactly one set, with the Service's timeout left",
    promised_by=KUBE_PROXY,
    source=sources.NFT_DYNSET,
    modes=NFTABLES,
)
def test_a_client_is_in_one_set_with_the_timeout_left(
    client: Client, nodes: Nodes, sticky_service: ServiceState, check: Check
) -> None:
    """A client in two sets is bound by rule order; an element with another expiry ends its session early or late.

    Preconditions: a Service with ClientIP and 10800 seconds; a client that has sent it no request.
    Steps: read the sets of the client's node; read them again after 20 requests.
    Expected: no element of the client at first; then one, with 10800 seconds left minus the time since the first
        request. (C21 is the same for recent lists.)
    """
    before = nodes.read_one(client.node)
    since = time.monotonic()
    client.request(target(sticky_service), count=20)
    after = nodes.read_one(client.node)
    seconds = time.monotonic() - since

    verdict = judge_one_element(sticky_service, client.id, before, after, seconds=seconds)

    check(verdict)


@claim(
    "C21n",
    "Nodes that a client's requests do not pass through have no affinity entry of it",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
@pytest.mark.usefixtures("several_nodes")
def test_other_nodes_have_no_affinity_entry_of_the_client(
    client: Client, nodes: Nodes, sticky_service: ServiceState, testbed: Testbed, check: Check
) -> None:
    """Control for C21: entries are per node, so one elsewhere comes from another source than the client's requests.

    Preconditions: a Service with ClientIP; a client that has sent it no request.
    Steps: wait for every node; 20 requests; read the lists or sets of every node.
    Expected: every other node has the Service's three lists or sets, all of them empty.
    """
    testbed.wait_for_sync(sticky_service, since=time.monotonic())
    client.request(target(sticky_service), count=20)
    states = nodes.read()

    verdict = judge_other_nodes(testbed.backend, sticky_service, client.id, states)

    check(verdict)


@claim(
    "C26",
    "Switching to None clears all affinity entries; switching back starts empty",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_switching_to_none_clears_all_affinity_entries(
    backend: Backend, switched_off_and_on: OffAndOn, check: Check
) -> None:
    """Entries that survive bind clients again to endpoints they left, and the load is not spread anew.

    Preconditions: a Service with ClientIP that has an affinity entry of a client.
    Steps: patch it to None and, once the nodes have followed, back to ClientIP; read the lists or sets of every node
        each time.
    Expected: no list or set of the Service under None; three empty ones under ClientIP again, on every node.
    """
    seen = switched_off_and_on

    verdict = judge_entries_cleared(backend, seen.service, seen.bound, seen.off.states, seen.on.states)

    check(verdict)


@claim(
    "C52",
    "Moving a client's affinity entry moves the client",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_moving_the_affinity_entry_moves_the_client(
    client: Client, nodes: Nodes, backend: Backend, sticky_service: ServiceState, check: Check
) -> None:
    """Proves that the entry is what binds the client, so that the claims about entries say where requests go.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: for each endpoint in turn, remove the client from all lists or sets of its node, add it to that endpoint's,
        and send 5 requests.
    Expected: all 5 are answered by that endpoint, each time.
    """
    followed = []
    for store, endpoint in backend.affinity_stores(sticky_service).items():
        nodes.run(client.node, backend.pin_argv(sticky_service, client.address, store)).check()
        followed.append((endpoint, client.request(target(sticky_service), count=5)))

    verdict = judge_moved_entries(sticky_service, client.id, followed)

    check(verdict)
