"""The affinity entries of a client on the nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.verdicts.lists import (
    EntryRound,
    judge_entries_cleared,
    judge_moved_entries,
    judge_one_element,
    judge_one_entry,
    judge_other_nodes,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

CLIENT, OTHER = "10.10.0.6", "10.10.0.9"
HOME, WORKER = "myk8s-control-plane", "myk8s-worker"
HZ = 250


def after(world: World, connections: int, state: NodeSnapshot, *, sent_again: int = 0) -> EntryRound:
    """Return the node of a client that was answered so often so far."""
    return EntryRound(world.answers(*["webpod2"] * connections), state, sent_again)


def test_a_client_is_listed_once_with_a_stamp_a_connection(world: World) -> None:
    rounds = [
        after(world, 0, world.node(HOME)),
        after(world, 3, world.node(HOME, {1: {CLIENT: (0, 1, 2)}})),
        after(world, 40, world.node(HOME, {1: {CLIENT: (*tuple(range(29)), 0, 0, 0)}})),
    ]

    verdict = judge_one_entry(world.service, CLIENT_ID, rounds, HZ)

    assert verdict.ok
    assert verdict.headline == "0 stamps after 0, 3 stamps after 3, 32 stamps after 40"


@pytest.mark.parametrize(
    ("stamps", "sent_again", "holds"), [(3, 1, True), (4, 1, True), (5, 1, False), (4, 0, False), (2, 1, False)]
)
def test_a_first_packet_that_was_sent_again_may_be_stamped_again(
    world: World, stamps: int, sent_again: int, *, holds: bool
) -> None:
    state = world.node(HOME, {1: {CLIENT: tuple(range(stamps))}})

    verdict = judge_one_entry(world.service, CLIENT_ID, [after(world, 3, state, sent_again=sent_again)], HZ)

    assert verdict.ok is holds
    if not holds:
        assert f"with {'3 to 4' if sent_again else '3'} stamps" in explained(verdict)


def test_as_many_stamps_as_the_nodes_module_keeps_hold(world: World) -> None:
    state = replace(world.node(HOME, {1: {CLIENT: (0, 1)}}), max_stamps=2)

    assert judge_one_entry(world.service, CLIENT_ID, [after(world, 20, state)], HZ).ok


def test_an_expired_entry_beside_a_live_one_does_not_count(world: World) -> None:
    state = world.node(HOME, {0: {CLIENT: (40,)}, 1: {CLIENT: (0,)}})

    assert judge_one_entry(world.service, CLIENT_ID, [after(world, 1, state)], HZ).ok


def test_an_entry_before_any_traffic_does_not_hold(world: World) -> None:
    rounds = [
        after(world, 0, world.node(HOME, {2: {CLIENT: (5,)}})),
        after(world, 1, world.node(HOME, {2: {CLIENT: (0,)}})),
    ]

    verdict = judge_one_entry(world.service, CLIENT_ID, rounds, HZ)

    assert "expected: no entry of 10.10.0.6" in explained(verdict)
    assert f"{CLIENT} in {world.chains[2]} (webpod3), 25.00 s left, 1 stamps" in explained(verdict)


def test_two_live_entries_do_not_hold(world: World) -> None:
    state = world.node(HOME, {0: {CLIENT: (1,)}, 1: {CLIENT: (0,)}})

    assert not judge_one_entry(world.service, CLIENT_ID, [after(world, 1, state)], HZ).ok


def test_missing_stamps_do_not_hold(world: World) -> None:
    verdict = judge_one_entry(world.service, CLIENT_ID, [after(world, 20, world.node(HOME, {0: {CLIENT: (0, 1)}}))], HZ)

    assert verdict.headline == "2 stamps after 20"
    assert not verdict.ok


def test_a_flushed_list_does_not_hold(world: World) -> None:
    verdict = judge_one_entry(world.service, CLIENT_ID, [after(world, 20, world.node(HOME))], HZ)

    assert "expected: one live entry with 20 stamps" in explained(verdict)


def test_other_nodes_have_empty_lists(world: World) -> None:
    states = {HOME: world.node(HOME, {0: {CLIENT: (0,)}}), WORKER: world.node(WORKER)}

    assert judge_other_nodes(IPTABLES, world.service, CLIENT_ID, states).ok


def test_a_client_on_another_node_does_not_hold(world: World) -> None:
    states = {HOME: world.node(HOME), WORKER: world.node(WORKER, {0: {CLIENT: (0,)}})}

    text = explained(judge_other_nodes(IPTABLES, world.service, CLIENT_ID, states))

    assert text.startswith("C16 does not hold on myk8s-worker:")
    assert "entries of 10.10.0.6 (the client itself)" in text


def test_a_node_without_lists_is_no_negative_control(world: World) -> None:
    states = {HOME: world.node(HOME), WORKER: world.node(WORKER, lists={})}

    assert not judge_other_nodes(IPTABLES, world.service, CLIENT_ID, states).ok


def used(world: World) -> NodeSnapshot:
    """Return the client's node when the Service is in use."""
    return world.node(HOME, {0: {CLIENT: (0,)}})


def test_none_clears_the_lists(world: World) -> None:
    without = {HOME: world.node(HOME, lists={})}

    assert judge_entries_cleared(IPTABLES, world.service, used(world), without, {HOME: world.node(HOME)}).ok


def test_lists_under_none_do_not_hold(world: World) -> None:
    states = {HOME: world.node(HOME)}

    verdict = judge_entries_cleared(IPTABLES, world.service, used(world), states, states)

    assert "expected: no lists of the Service while its affinity is None" in explained(verdict)


def test_an_entry_that_came_back_does_not_hold(world: World) -> None:
    again = {HOME: world.node(HOME, {0: {OTHER: (9,)}})}

    verdict = judge_entries_cleared(IPTABLES, world.service, used(world), {HOME: world.node(HOME, lists={})}, again)

    assert "seen: 3 lists with 1 entries: 10.10.0.9" in explained(verdict)


def test_answers_follow_the_entry(world: World) -> None:
    followed = [(endpoint, world.answers(endpoint.pod)) for endpoint in world.service.endpoints]

    assert judge_moved_entries(world.service, CLIENT_ID, followed).headline == "3 of 3 moves followed"


def test_answers_that_stay_do_not_hold(world: World) -> None:
    followed = [(endpoint, world.answers("webpod1", "webpod1")) for endpoint in world.service.endpoints]

    verdict = judge_moved_entries(world.service, CLIENT_ID, followed)

    assert verdict.headline == "1 of 3 moves followed"
    assert "expected: all answered by webpod2, which the client's entry is for" in explained(verdict)


# Sets.


def test_a_client_is_in_one_set_for_what_is_left_of_the_timeout(world: World) -> None:
    before, after = world.node_with_sets(HOME), world.node_with_sets(HOME, {1: {CLIENT: 29}})

    verdict = judge_one_element(world.service, CLIENT_ID, before, after, seconds=0.4)

    assert verdict.ok
    assert verdict.headline == "0 before, 1 after with 29 s left"


@pytest.mark.parametrize(
    "elements",
    [{}, {0: {CLIENT: 29}, 1: {CLIENT: 29}}, {0: {CLIENT: 28}}, {0: {CLIENT: 31}}, {0: {OTHER: 29}}],
    ids=["in-none", "in-two", "too-little", "too-much", "another"],
)
def test_an_element_elsewhere_or_with_another_time_does_not_hold(
    world: World, elements: dict[int, dict[str, float]]
) -> None:
    after = world.node_with_sets(HOME, elements)

    verdict = judge_one_element(world.service, CLIENT_ID, world.node_with_sets(HOME), after, seconds=0.4)

    assert f"expected: {CLIENT} in one set of the Service, with 28.6 s to 30 s left" in explained(verdict)


def test_an_element_before_the_first_request_does_not_hold(world: World) -> None:
    state = world.node_with_sets(HOME, {1: {CLIENT: 29}})

    text = explained(judge_one_element(world.service, CLIENT_ID, state, state, seconds=0.4))

    assert "in no set of the Service before its first request" in text


def test_other_nodes_have_empty_sets(world: World) -> None:
    states = {HOME: world.node_with_sets(HOME, {0: {CLIENT: 29}}), WORKER: world.node_with_sets(WORKER)}

    assert judge_other_nodes(NFTABLES, world.service, CLIENT_ID, states).ok
    states[WORKER] = world.node_with_sets(WORKER, {2: {OTHER: 3}})
    assert not judge_other_nodes(NFTABLES, world.service, CLIENT_ID, states).ok


def test_a_node_without_sets_is_no_negative_control(world: World) -> None:
    states = {WORKER: NodeSnapshot(WORKER)}

    text = explained(judge_other_nodes(NFTABLES, world.service, CLIENT_ID, states))

    assert "0 sets; there is no affinity-" in text


def test_none_clears_the_sets(world: World) -> None:
    empty = {HOME: world.node_with_sets(HOME)}

    before = world.node_with_sets(HOME, {0: {CLIENT: 29}})

    assert judge_entries_cleared(NFTABLES, world.service, before, {HOME: NodeSnapshot(HOME)}, empty).ok
    assert not judge_entries_cleared(NFTABLES, world.service, before, empty, empty).ok
