"""Who answered, judged against the other answers, the lists and the connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.conntrack import Flow
from session_affinity.verdicts.distribution import (
    judge_answers_from_list,
    judge_even_spread,
    judge_one_endpoint,
    judge_translation,
)

if TYPE_CHECKING:
    from conftest import World
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.verdicts.verdict import Verdict

CLIENT = "10.10.0.6"


def test_one_endpoint_holds(world: World) -> None:
    verdict = judge_one_endpoint(world.service, "net-pod", world.answers(*["webpod2"] * 100))

    assert verdict.ok
    assert verdict.headline == "100 of 100 from webpod2"


def test_two_endpoints_do_not_hold(world: World) -> None:
    answers = world.answers(*["webpod2"] * 60, *["webpod1"] * 40)

    verdict = judge_one_endpoint(world.service, "net-pod", answers)

    assert "seen: 100 requests: webpod2 60, webpod1 40" in verdict.explain()
    assert "in order: webpod2 x60, webpod1 x40" in verdict.explain()


def test_a_failed_request_does_not_hold(world: World) -> None:
    verdict = judge_one_endpoint(world.service, "net-pod", world.answers("webpod1", None))

    assert not verdict.ok
    assert verdict.headline == "1 endpoints answered, 1 of 2 requests failed"


def test_no_answer_at_all_does_not_hold(world: World) -> None:
    assert not judge_one_endpoint(world.service, "net-pod", world.answers(None, None)).ok


def test_an_even_spread_holds(world: World) -> None:
    answers = world.answers(*["webpod1"] * 100, *["webpod2"] * 110, *["webpod3"] * 90)

    assert judge_even_spread(world.service, "net-pod", answers, 1e-7).ok


def test_a_skewed_spread_does_not_hold(world: World) -> None:
    answers = world.answers(*["webpod1"] * 150, *["webpod2"] * 75, *["webpod3"] * 75)

    verdict = judge_even_spread(world.service, "net-pod", answers, 1e-7)

    assert not verdict.ok
    assert "150 + 75 + 75 of 300" in verdict.headline


def test_an_even_spread_with_a_failure_does_not_hold(world: World) -> None:
    answers = world.answers(*["webpod1", "webpod2", "webpod3"] * 100, None)

    verdict = judge_even_spread(world.service, "net-pod", answers, 1e-7)

    assert "failed 1: curl 28: timed out (1)" in verdict.explain()


def judge_listed(world: World, state: NodeSnapshot) -> Verdict:
    answers = world.answers("webpod2")
    return judge_answers_from_list(IPTABLES, world.service, ("net-pod", CLIENT), answers, state=state)


def test_the_list_names_who_answered(world: World) -> None:
    state = world.node("myk8s-control-plane", {1: {CLIENT: (0,)}})

    verdict = judge_listed(world, state)

    assert verdict.ok
    assert verdict.headline == "webpod2 answered, webpod2 has 10.10.0.6 listed"


def test_the_list_of_another_endpoint_does_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", {0: {CLIENT: (0,)}})

    verdict = judge_listed(world, state)

    assert "C13 does not hold on myk8s-control-plane" in verdict.explain()
    assert "in the lists of: 10.10.1.2:80 (pod webpod1 on myk8s-worker)" in verdict.explain()


def test_two_lists_do_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", {0: {CLIENT: (0,)}, 1: {CLIENT: (0,)}})

    assert not judge_listed(world, state).ok


def test_the_set_names_who_answered(world: World) -> None:
    state = world.node_with_sets("myk8s-control-plane", {1: {CLIENT: 29}})
    who = ("net-pod", CLIENT)

    assert judge_answers_from_list(NFTABLES, world.service, who, world.answers("webpod2"), state=state).ok
    assert not judge_answers_from_list(NFTABLES, world.service, who, world.answers("webpod3"), state=state).ok


def flow(sport: int, to: str) -> Flow:
    return Flow("tcp", CLIENT, "10.200.1.17", sport, 9000, to, 80)


def test_translation_agrees_with_who_answered(world: World) -> None:
    state = world.node("myk8s-control-plane", flows=(flow(40000, "10.10.2.2"), flow(40001, "10.10.1.2")))

    verdict = judge_translation(world.service, CLIENT, world.answers("webpod2", "webpod1"), state)

    assert verdict.ok
    assert verdict.headline == "2 of 2 connections agree"


def test_translation_to_another_endpoint_does_not_hold(world: World) -> None:
    state = world.node("myk8s-control-plane", flows=(flow(40000, "10.10.2.2"), flow(40001, "10.10.3.2")))

    verdict = judge_translation(world.service, CLIENT, world.answers("webpod2", "webpod1", "webpod1"), state)

    assert "seen: 10.10.3.2:80 (1 times)" in verdict.explain()
    assert "seen: no such connection (1 times)" in verdict.explain()
    assert verdict.headline == "1 of 3 connections agree"
