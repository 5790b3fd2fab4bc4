"""Whom nodes remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.verdicts.lists import (
    judge_follows,
    judge_forgotten,
    judge_one_element,
    judge_one_entry,
    judge_strangers,
)

if TYPE_CHECKING:
    from conftest import World

CLIENT, OTHER = "10.10.0.6", "10.10.0.9"
HOME, WORKER = "myk8s-control-plane", "myk8s-worker"
HZ = 250


def test_a_client_is_listed_once_with_a_stamp_a_connection(world: World) -> None:
    rounds = [
        (0, world.node(HOME)),
        (3, world.node(HOME, {1: {CLIENT: (0, 1, 2)}})),
        (40, world.node(HOME, {1: {CLIENT: (*tuple(range(29)), 0, 0, 0)}})),
    ]

    verdict = judge_one_entry(world.service, CLIENT, rounds, HZ)

    assert verdict.ok
    assert verdict.headline == "0 stamps after 0, 3 stamps after 3, 32 stamps after 40"


def test_an_expired_entry_beside_a_live_one_does_not_count(world: World) -> None:
    state = world.node(HOME, {0: {CLIENT: (40,)}, 1: {CLIENT: (0,)}})

    assert judge_one_entry(world.service, CLIENT, [(1, state)], HZ).ok


def test_an_entry_before_any_traffic_does_not_hold(world: World) -> None:
    verdict = judge_one_entry(world.service, CLIENT, [(0, world.node(HOME, {2: {CLIENT: (5,)}}))], HZ)

    assert "expected: no entry of 10.10.0.6" in verdict.explain()
    assert f"{CLIENT} in {world.chains[2]} (webpod3), 25.00 s left, 1 stamps" in verdict.explain()


def test_two_live_entries_do_not_hold(world: World) -> None:
    state = world.node(HOME, {0: {CLIENT: (1,)}, 1: {CLIENT: (0,)}})

    assert not judge_one_entry(world.service, CLIENT, [(1, state)], HZ).ok


def test_missing_stamps_do_not_hold(world: World) -> None:
    verdict = judge_one_entry(world.service, CLIENT, [(20, world.node(HOME, {0: {CLIENT: (0, 1)}}))], HZ)

    assert verdict.headline == "2 stamps after 20"
    assert not verdict.ok


def test_a_flushed_list_does_not_hold(world: World) -> None:
    verdict = judge_one_entry(world.service, CLIENT, [(20, world.node(HOME))], HZ)

    assert "expected: one live entry with 20 stamps" in verdict.explain()


def test_other_nodes_have_empty_lists(world: World) -> None:
    states = {HOME: world.node(HOME, {0: {CLIENT: (0,)}}), WORKER: world.node(WORKER)}

    assert judge_strangers(IPTABLES, world.service, (CLIENT, HOME), states).ok


def test_a_client_on_another_node_does_not_hold(world: World) -> None:
    states = {HOME: world.node(HOME), WORKER: world.node(WORKER, {0: {CLIENT: (0,)}})}

    text = judge_strangers(IPTABLES, world.service, (CLIENT, HOME), states).explain()

    assert text.startswith("C21n does not hold on myk8s-worker:")
    assert "entries of 10.10.0.6 (the client itself)" in text


def test_a_node_without_lists_is_no_negative_control(world: World) -> None:
    states = {HOME: world.node(HOME), WORKER: world.node(WORKER, lists={})}

    assert not judge_strangers(IPTABLES, world.service, (CLIENT, HOME), states).ok


def test_none_forgets(world: World) -> None:
    without = {HOME: world.node(HOME, lists={})}

    assert judge_forgotten(IPTABLES, world.service, without, {HOME: world.node(HOME)}).ok


def test_lists_under_none_do_not_hold(world: World) -> None:
    verdict = judge_forgotten(IPTABLES, world.service, {HOME: world.node(HOME)}, {HOME: world.node(HOME)})

    assert "expected: no lists of the Service while its affinity is None" in verdict.explain()


def test_an_entry_that_came_back_does_not_hold(world: World) -> None:
    again = {HOME: world.node(HOME, {0: {OTHER: (9,)}})}

    verdict = judge_forgotten(IPTABLES, world.service, {HOME: world.node(HOME, lists={})}, again)

    assert "seen: 3 lists with 1 entries: 10.10.0.9" in verdict.explain()


def test_answers_follow_the_entry(world: World) -> None:
    followed = [(endpoint, world.answers(endpoint.pod)) for endpoint in world.service.endpoints]

    assert judge_follows(world.service, HOME, followed).headline == "3 of 3 moves followed"


def test_answers_that_stay_do_not_hold(world: World) -> None:
    followed = [(endpoint, world.answers("webpod1", "webpod1")) for endpoint in world.service.endpoints]

    verdict = judge_follows(world.service, HOME, followed)

    assert verdict.headline == "1 of 3 moves followed"
    assert "expected: all answered by webpod2, for which the client is remembered" in verdict.explain()


# Sets.


def test_a_client_is_in_one_set_for_what_is_left_of_the_timeout(world: World) -> None:
    before, after = world.node_with_sets(HOME), world.node_with_sets(HOME, {1: {CLIENT: 29}})

    verdict = judge_one_element(world.service, CLIENT, before, after, seconds=0.4)

    assert verdict.ok
    assert verdict.headline == "0 before, 1 after with 29 s left"


@pytest.mark.parametrize(
    "elements",
    [{}, {0: {CLIENT: 29}, 1: {CLIENT: 29}}, {0: {CLIENT: 28}}, {0: {CLIENT: 31}}, {0: {OTHER: 29}}],
    ids=["in-none", "in-two", "too-little", "too-much", "another"],
)
def test_a_client_that_is_remembered_otherwise_does_not_hold(
    world: World, elements: dict[int, dict[str, float]]
) -> None:
    after = world.node_with_sets(HOME, elements)

    verdict = judge_one_element(world.service, CLIENT, world.node_with_sets(HOME), after, seconds=0.4)

    assert f"expected: {CLIENT} in one set of the Service, with 28.6 s to 30 s left" in verdict.explain()


def test_a_client_that_is_in_a_set_before_it_asks_does_not_hold(world: World) -> None:
    state = world.node_with_sets(HOME, {1: {CLIENT: 29}})

    text = judge_one_element(world.service, CLIENT, state, state, seconds=0.4).explain()

    assert "in no set of the Service before it asks" in text


def test_other_nodes_have_empty_sets(world: World) -> None:
    states = {HOME: world.node_with_sets(HOME, {0: {CLIENT: 29}}), WORKER: world.node_with_sets(WORKER)}

    assert judge_strangers(NFTABLES, world.service, (CLIENT, HOME), states).ok
    states[WORKER] = world.node_with_sets(WORKER, {2: {OTHER: 3}})
    assert not judge_strangers(NFTABLES, world.service, (CLIENT, HOME), states).ok


def test_a_node_without_sets_is_no_negative_control(world: World) -> None:
    states = {WORKER: NodeSnapshot(WORKER)}

    text = judge_strangers(NFTABLES, world.service, (CLIENT, HOME), states).explain()

    assert "0 sets; there is no affinity-" in text


def test_none_forgets_sets(world: World) -> None:
    empty = {HOME: world.node_with_sets(HOME)}

    assert judge_forgotten(NFTABLES, world.service, {HOME: NodeSnapshot(HOME)}, empty).ok
    assert not judge_forgotten(NFTABLES, world.service, empty, empty).ok
