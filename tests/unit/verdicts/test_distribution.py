"""Which endpoints answered, judged against the other answers, the lists and the connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.conntrack import Flow
from session_affinity.errors import UsageError
from session_affinity.verdicts.distribution import (
    judge_entry_of_answer,
    judge_even_spread,
    judge_one_endpoint,
    judge_translation,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.verdicts.verdict import Verdict
    from tests.unit.verdicts.conftest import World

CLIENT = "10.10.0.6"


def test_one_endpoint_holds(world: World) -> None:
    verdict = judge_one_endpoint(world.service, CLIENT_ID, world.answers(*["webpod2"] * 100))

    assert verdict.ok
    assert verdict.headline == "100 of 100 from webpod2"


def test_two_endpoints_do_not_hold(world: World) -> None:
    answers = world.answers(*["webpod2"] * 60, *["webpod1"] * 40)

    verdict = judge_one_endpoint(world.service, CLIENT_ID, answers)

    assert "seen: 100 requests: webpod2 60, webpod1 40" in explained(verdict)
    assert "in order: webpod2 x60, webpod1 x40" in explained(verdict)


def test_a_failed_request_does_not_hold(world: World) -> None:
    verdict = judge_one_endpoint(world.service, CLIENT_ID, world.answers("webpod1", None))

    assert not verdict.ok
    assert verdict.headline == "1 endpoints answered, 1 of 2 requests failed"


def test_no_answer_at_all_does_not_hold(world: World) -> None:
    assert not judge_one_endpoint(world.service, CLIENT_ID, world.answers(None, None)).ok


def test_an_even_spread_holds(world: World) -> None:
    answers = world.answers(*["webpod1"] * 100, *["webpod2"] * 110, *["webpod3"] * 90)

    assert judge_even_spread(world.service, CLIENT_ID, answers, 1e-7).ok


def test_a_skewed_spread_does_not_hold(world: World) -> None:
    answers = world.answers(*["webpod1"] * 150, *["webpod2"] * 75, *["webpod3"] * 75)

    verdict = judge_even_spread(world.service, CLIENT_ID, answers, 1e-7)

    assert not verdict.ok
    assert "150 + 75 + 75 of 300" in verdict.headline


def test_an_even_spread_with_a_failure_does_not_hold(world: World) -> None:
    answers = world.answers(*["webpod1", "webpod2", "webpod3"] * 100, None)

    verdict = judge_even_spread(world.service, CLIENT_ID, answers, 1e-7)

    assert "failed 1: curl 28: timed out (1)" in explained(verdict)


def test_a_spread_of_which_no_request_was_answered_does_not_hold(world: World) -> None:
    verdict = judge_even_spread(world.service, CLIENT_ID, world.answers(*[None] * 300), 1e-7)

    assert verdict.headline == "0 of 300 requests answered by endpoints of the Service"
    assert "expected: 300 requests answered, about 100 by each endpoint" in explained(verdict)


def test_a_spread_of_which_too_few_requests_were_answered_does_not_hold(world: World) -> None:
    for seen in (["webpod1", *[None] * 299], ["old"] * 300):
        assert not judge_even_spread(world.service, CLIENT_ID, world.answers(*seen), 1e-7).ok


def test_too_few_requests_are_an_error_of_the_suite(world: World) -> None:
    with pytest.raises(UsageError, match="3 requests are too few"):
        judge_even_spread(world.service, CLIENT_ID, world.answers("webpod1", "webpod2", "webpod3"), 1e-7)


def judge_entry(world: World, state: NodeSnapshot) -> Verdict:
    answers = world.answers("webpod2")
    return judge_entry_of_answer(IPTABLES, world.service, CLIENT_ID, answers, state=state)


def test_the_entry_in_the_list_of_the_pod_that_answered_holds(world: World) -> None:
    state = world.node("myk8s-control-plane", {1: {CLIENT: (0,)}})

    verdict = judge_entry(world, state)

    assert verdict.ok
    assert verdict.headline == "webpod2 answered, entry 10.10.0.6 -> webpod2"


def test_an_entry_in_the_list_of_another_endpoint_does_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", {0: {CLIENT: (0,)}})

    verdict = judge_entry(world, state)

    assert "C16 does not hold on myk8s-control-plane" in explained(verdict)
    assert "expected: entry 10.10.0.6 -> webpod2 (the pod that answered net-pod)" in explained(verdict)
    assert f"seen: 10.10.0.6 in {world.chains[0]} (webpod1)" in explained(verdict)


def test_entries_in_two_lists_do_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", {0: {CLIENT: (0,)}, 1: {CLIENT: (0,)}})

    assert not judge_entry(world, state).ok


def test_the_element_in_the_set_of_the_pod_that_answered_holds(world: World) -> None:
    state = world.node_with_sets("myk8s-control-plane", {1: {CLIENT: 29}})

    assert judge_entry_of_answer(NFTABLES, world.service, CLIENT_ID, world.answers("webpod2"), state=state).ok
    assert not judge_entry_of_answer(NFTABLES, world.service, CLIENT_ID, world.answers("webpod3"), state=state).ok


def flow(sport: int, to: str) -> Flow:
    return Flow("tcp", CLIENT, "10.200.1.17", sport, 9000, to, 80)


def test_translation_to_the_pods_that_answered_holds(world: World) -> None:
    state = world.node("myk8s-control-plane", flows=(flow(40000, "10.10.2.2"), flow(40001, "10.10.1.2")))

    verdict = judge_translation(world.service, CLIENT_ID, world.answers("webpod2", "webpod1"), state)

    assert verdict.ok
    assert verdict.headline == "2 of 2 connections agree"


def test_translation_to_another_endpoint_does_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", flows=(flow(40000, "10.10.2.2"), flow(40001, "10.10.3.2")))

    verdict = judge_translation(world.service, CLIENT_ID, world.answers("webpod2", "webpod1", "webpod1"), state)

    assert "seen: 10.10.3.2:80 (1 times)" in explained(verdict)
    assert "seen: no such connection (1 times)" in explained(verdict)
    assert verdict.headline == "1 of 3 connections agree"
