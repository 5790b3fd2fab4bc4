"""Paths to a Service: which endpoints answered, which should have, and the entries on the nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.client import ClientId
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_allowed_endpoints,
    judge_dropped_requests,
    judge_entries_by_node,
    judge_flows,
    judge_one_endpoint_per_path,
    judge_separate_bindings,
    judge_translated_clients,
    judge_unanswered_requests,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit

ONE, OTHER = Target("172.30.0.4", 30127), Target("172.30.0.5", 30127)
PATHS = {ONE: "through worker2", OTHER: "through worker3"}
HOST = "172.30.0.3"
HOST_CLIENT = ClientId("affinity-host-x", HOST, "worker")
TIMED_OUT = "curl 28: Connection timed out after 500 milliseconds"
REFUSED = "curl 7: Failed to connect"


def answers(*rounds: tuple[Target, str | None], error: str = TIMED_OUT, local: str = HOST) -> Answers:
    return Answers(
        tuple(
            Answer(target, pod, 200 if pod else 0, 40000, 1, 0.01, "" if pod else error, local_address=local)
            for target, pod in rounds
        )
    )


def requests(world: World, *rounds: tuple[Target, str | None], error: str = TIMED_OUT) -> PathRequests:
    return PathRequests(world.service, HOST_CLIENT, PATHS, answers(*rounds, error=error))


def test_each_path_may_lead_to_an_endpoint_of_its_own(world: World) -> None:
    verdict = judge_one_endpoint_per_path(requests(world, (ONE, "webpod1"), (OTHER, "webpod3"), (ONE, "webpod1")))

    assert (verdict.ok, verdict.headline) == (True, "one endpoint on each of 2 paths: webpod1 on 1, webpod3 on 1")


@pytest.mark.parametrize("second", ["webpod2", None])
def test_a_path_on_which_two_answer_or_one_request_fails_is_named(world: World, second: str | None) -> None:
    verdict = judge_one_endpoint_per_path(requests(world, (ONE, "webpod1"), (ONE, second), (OTHER, "webpod1")))

    assert not verdict.ok
    assert explained(verdict).startswith(
        "C16 does not hold on affinity-host-x through worker2: not one endpoint on 1 of 2 paths"
    )


def test_answers_come_from_the_endpoints_of_their_path(world: World) -> None:
    right = requests(world, (ONE, "webpod2"), (OTHER, "webpod3"))
    wrong = requests(world, (ONE, "webpod2"), (OTHER, "webpod2"))
    allowed = {ONE: ["webpod2"], OTHER: ["webpod3"]}

    assert judge_allowed_endpoints(right, allowed).headline == "2 of 2 answered by the endpoints of their paths"
    verdict = judge_allowed_endpoints(wrong, allowed)
    assert [finding.where for finding in verdict.findings] == ["affinity-host-x through worker3"]
    assert "all answered by webpod3" in explained(verdict)


def test_a_request_that_fails_is_answered_by_nobody(world: World) -> None:
    verdict = judge_allowed_endpoints(
        requests(world, (ONE, "webpod2"), (OTHER, None)), dict.fromkeys(PATHS, ("webpod2",))
    )

    assert (verdict.ok, verdict.headline) == (False, "1 of 2 answered by webpod2")


def test_dropped_is_neither_answered_nor_refused(world: World) -> None:
    silent = requests(world, (ONE, None), (OTHER, None))

    assert judge_dropped_requests(silent).headline == "nothing came back for 2 of 2 requests"
    assert judge_dropped_requests(silent).ok
    assert not judge_dropped_requests(requests(world, (ONE, None), (OTHER, None), error=REFUSED)).ok
    assert not judge_dropped_requests(requests(world, (ONE, None), (OTHER, "webpod1"))).ok


def test_unanswered_is_refused_or_not_answered(world: World) -> None:
    silent = requests(world, (ONE, None), (OTHER, None))
    answered = judge_unanswered_requests(requests(world, (ONE, None), (OTHER, "webpod1")))

    assert judge_unanswered_requests(silent).ok
    assert judge_unanswered_requests(requests(world, (ONE, None), (OTHER, None), error=REFUSED)).ok
    assert (answered.ok, answered.headline) == (False, "1 of 2 requests answered")
    assert [finding.where for finding in answered.findings] == [
        requests(world, (ONE, None), (OTHER, None)).where(OTHER)
    ]


def test_separate_bindings_differ_somewhere(world: World) -> None:
    pairs = [("webpod1", "webpod1"), ("webpod1", "webpod2")]

    assert judge_separate_bindings(world.service, CLIENT_ID, pairs, "ports").headline == "1 of 2 ports differ"
    assert not judge_separate_bindings(world.service, CLIENT_ID, [("webpod1", None), (None, None)], "ports").ok
    assert not judge_separate_bindings(world.service, CLIENT_ID, pairs[:1], "ports").ok


@pytest.mark.parametrize(
    ("later", "new", "says"),
    [
        (("webpod1", "webpod2"), ("webpod1", "webpod3"), ""),
        (("webpod1", "webpod3"), ("webpod1", "webpod3"), "each flow stays where it began"),
        (("webpod1", "webpod2"), ("webpod1", "webpod2"), "have renewed the timeout"),
        (("webpod1", None), ("webpod1", "webpod3"), "every datagram to 2 ports answered"),
    ],
)
def test_flows_stay_and_new_ones_are_free(
    world: World, later: tuple[str | None, ...], new: tuple[str | None, ...], says: str
) -> None:
    began = requests(world, (ONE, "webpod1"), (OTHER, "webpod2"))

    verdict = judge_flows(began, *(answers(*zip(PATHS, pods, strict=True)) for pods in (later, new)))

    assert verdict.ok is not bool(says)
    assert says in explained(verdict)


def test_a_node_has_entries_of_the_clients_that_entered_by_it_and_no_others(world: World) -> None:
    seen = requests(world, (ONE, "webpod1"), (OTHER, "webpod3"))
    node_of = {ONE: "worker2", OTHER: "worker3"}
    right = {
        "worker2": world.node("worker2", {0: {HOST: (1,)}}),
        "worker3": world.node("worker3", {2: {HOST: (1,)}}),
        "worker": world.node("worker"),
    }

    assert judge_entries_by_node(IPTABLES, seen, node_of, right).ok
    for wrong in (
        right | {"worker2": world.node("worker2", {0: {"172.30.0.4": (1,)}})},
        right | {"worker2": world.node("worker2", {1: {HOST: (1,)}})},
        right | {"worker2": world.node("worker2")},
        right | {"worker": world.node("worker", {0: {HOST: (1,)}})},
    ):
        verdict = judge_entries_by_node(IPTABLES, seen, node_of, wrong)
        (finding,) = verdict.findings
        assert finding.where in ("worker2", "worker")


def test_clients_behind_a_translation_have_one_entry_of_another_address(world: World) -> None:
    front = replace(world.service, name="front")
    both = [
        PathRequests(front, ClientId(name, local, "worker"), {ONE: PATHS[ONE]}, answers((ONE, "webpod2"), local=local))
        for name, local in ((CLIENT_ID, "10.10.0.2"), ("affinity-hairpin-x", "10.10.1.9"))
    ]
    other = replace(both[1], answers=answers((ONE, "webpod1"), local="10.10.1.9"))

    def judged(rounds: list[PathRequests], entries: dict[int, dict[str, tuple[int, ...]]]) -> bool:
        return judge_translated_clients(IPTABLES, world.service, rounds, world.node("worker3", entries)).ok

    assert judged(both, {1: {"172.30.0.4": (1, 2)}})
    assert not judged(both, {1: {"10.10.0.2": (1, 2)}})
    assert not judged(both, {1: {"172.30.0.4": (1,), "172.30.0.5": (2,)}})
    assert not judged(both, {})
    assert not judged([both[0], other], {1: {"172.30.0.4": (1, 2)}})
