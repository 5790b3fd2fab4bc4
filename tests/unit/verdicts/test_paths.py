"""Ways to a Service: who answered, who should have, who is remembered where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_answered_by,
    judge_bound_apart,
    judge_dropped,
    judge_each_way,
    judge_flows,
    judge_one_client,
    judge_remembered,
)

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit

ONE, OTHER = Target("172.30.0.4", 30127), Target("172.30.0.5", 30127)
WAYS = {ONE: "through worker2", OTHER: "through worker3"}
HOST = "172.30.0.3"
TIMED_OUT = "curl 28: Connection timed out after 500 milliseconds"
REFUSED = "curl 7: Failed to connect"


def answers(*said: tuple[Target, str | None], error: str = TIMED_OUT, local: str = HOST) -> Answers:
    return Answers(
        tuple(
            Answer(target, who, 200 if who else 0, 40000, 1, 0.01, "" if who else error, local_address=local)
            for target, who in said
        )
    )


def asked(world: World, *said: tuple[Target, str | None], error: str = TIMED_OUT) -> PathRequests:
    return PathRequests(world.service, "affinity-host-x", WAYS, answers(*said, error=error))


def test_each_way_may_lead_to_an_endpoint_of_its_own(world: World) -> None:
    verdict = judge_each_way(asked(world, (ONE, "webpod1"), (OTHER, "webpod3"), (ONE, "webpod1")))

    assert (verdict.ok, verdict.headline) == (True, "one endpoint on each of 2 ways: webpod1 on 1, webpod3 on 1")


@pytest.mark.parametrize("second", ["webpod2", None])
def test_a_way_on_which_two_answer_or_one_request_fails_is_named(world: World, second: str | None) -> None:
    verdict = judge_each_way(asked(world, (ONE, "webpod1"), (ONE, second), (OTHER, "webpod1")))

    assert not verdict.ok
    assert verdict.explain().startswith(
        "C31 does not hold on affinity-host-x through worker2: not one endpoint on 1 of 2 ways"
    )


def test_a_way_that_was_never_asked_has_no_endpoint(world: World) -> None:
    assert not judge_each_way(asked(world, (ONE, "webpod1"))).ok


def test_answers_are_to_come_from_where_a_way_leads(world: World) -> None:
    right = asked(world, (ONE, "webpod2"), (OTHER, "webpod3"))
    wrong = asked(world, (ONE, "webpod2"), (OTHER, "webpod2"))
    allowed = {ONE: ["webpod2"], OTHER: ["webpod3"]}

    assert judge_answered_by(right, allowed).headline == "2 of 2 answered by the endpoints of their ways"
    verdict = judge_answered_by(wrong, allowed)
    assert [one.where for one in verdict.findings] == ["affinity-host-x through worker3"]
    assert "all answered by webpod3" in verdict.explain()


def test_a_request_that_fails_is_answered_by_nobody(world: World) -> None:
    verdict = judge_answered_by(asked(world, (ONE, "webpod2"), (OTHER, None)), dict.fromkeys(WAYS, ("webpod2",)))

    assert (verdict.ok, verdict.headline) == (False, "1 of 2 answered by webpod2")


def test_dropped_is_neither_answered_nor_refused(world: World) -> None:
    silent = asked(world, (ONE, None), (OTHER, None))

    assert judge_dropped(silent).headline == "nothing came back for 2 of 2 requests"
    assert judge_dropped(silent).ok
    assert not judge_dropped(asked(world, (ONE, None), (OTHER, None), error=REFUSED)).ok
    assert not judge_dropped(asked(world, (ONE, None), (OTHER, "webpod1"))).ok


def test_what_is_bound_apart_differs_somewhere(world: World) -> None:
    pairs = [("webpod1", "webpod1"), ("webpod1", "webpod2")]

    assert judge_bound_apart(world.service, "net-pod", pairs, "ports").headline == "1 of 2 ports differ"
    assert not judge_bound_apart(world.service, "net-pod", pairs[:1], "ports").ok


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
    began = asked(world, (ONE, "webpod1"), (OTHER, "webpod2"))

    verdict = judge_flows(began, *(answers(*zip(WAYS, who, strict=True)) for who in (later, new)))

    assert verdict.ok is not bool(says)
    assert says in verdict.explain()


def test_a_node_remembers_who_entered_by_it_and_no_other(world: World) -> None:
    came = asked(world, (ONE, "webpod1"), (OTHER, "webpod3"))
    entered = {ONE: "worker2", OTHER: "worker3"}
    right = {
        "worker2": world.node("worker2", {0: {HOST: (1,)}}),
        "worker3": world.node("worker3", {2: {HOST: (1,)}}),
        "worker": world.node("worker"),
    }

    assert judge_remembered(IPTABLES, came, entered, right).ok
    for wrong in (
        right | {"worker2": world.node("worker2", {0: {"172.30.0.4": (1,)}})},
        right | {"worker2": world.node("worker2", {1: {HOST: (1,)}})},
        right | {"worker2": world.node("worker2")},
        right | {"worker": world.node("worker", {0: {HOST: (1,)}})},
    ):
        verdict = judge_remembered(IPTABLES, came, entered, wrong)
        (finding,) = verdict.findings
        assert finding.where in ("worker2", "worker")


def test_clients_behind_a_translation_are_one_with_an_address_of_none_of_them(world: World) -> None:
    front = replace(world.service, name="front")
    both = [
        PathRequests(front, name, WAYS, answers((ONE, "webpod2"), local=local))
        for name, local in (("net-pod", "10.10.0.2"), ("affinity-hairpin-x", "10.10.1.9"))
    ]
    other = PathRequests(front, "affinity-hairpin-x", WAYS, answers((ONE, "webpod1"), local="10.10.1.9"))

    def judged(asked_by: list[PathRequests], entries: dict[int, dict[str, tuple[int, ...]]]) -> bool:
        return judge_one_client(IPTABLES, world.service, asked_by, world.node("worker3", entries)).ok

    assert judged(both, {1: {"172.30.0.4": (1, 2)}})
    assert not judged(both, {1: {"10.10.0.2": (1, 2)}})
    assert not judged(both, {1: {"172.30.0.4": (1,), "172.30.0.5": (2,)}})
    assert not judged(both, {})
    assert not judged([both[0], other], {1: {"172.30.0.4": (1, 2)}})
