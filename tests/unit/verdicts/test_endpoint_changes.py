"""What becomes of clients, judged by stages written by hand."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane import backends
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, Stage
from session_affinity.testbed.testbed import SyncResult
from session_affinity.traffic.answers import Answers
from session_affinity.verdicts.endpoint_changes import (
    judge_no_memory_yet,
    judge_nothing_left,
    judge_rules,
    judge_stage,
    judge_still_remembered,
)

if TYPE_CHECKING:
    from conftest import World
    from session_affinity.traffic.client import Client

pytestmark = pytest.mark.unit
A, B, C = "webpod1", "webpod2", "webpod3"


def stage(world: World, answers: tuple[str | None, ...] = (A,) * 3, **changes: object) -> Stage:
    """Return a stage in which all three endpoints may be used."""
    sync = SyncResult((world.service,), {}, {}, {}, {}, 0.5)
    usual = {
        "change": "changed",
        "service": world.service,
        "sync": sync,
        "answers": world.answers(*answers),
        "usable": (A, B, C),
    }
    return Stage(**{**usual, **changes})  # type: ignore[arg-type]


def course(*stages: Stage) -> ScenarioResult:
    return ScenarioResult(stages)


def test_a_client_that_stays_with_its_endpoint_is_right(world: World) -> None:
    verdict = judge_stage(course(stage(world), stage(world, during=world.answers(A, A))), 1, "net-pod")

    assert verdict.ok
    assert verdict.headline == "changed: stays, 0 of 2 requests lost in 0.0 s"


def test_a_client_that_moves_though_its_endpoint_is_there_is_wrong(world: World) -> None:
    verdict = judge_stage(course(stage(world), stage(world, (B, B))), 1, "net-pod")

    assert not verdict.ok
    assert "answered by webpod1, which the client is bound to" in verdict.explain()
    assert "webpod2 2" in verdict.explain()


def test_a_client_that_strays_while_nodes_learn_is_wrong(world: World) -> None:
    verdict = judge_stage(course(stage(world), stage(world, during=world.answers(A, C, A))), 1, "net-pod")

    assert "answers from webpod1 only" in verdict.explain()


def test_a_client_whose_endpoint_went_is_bound_to_one_other(world: World) -> None:
    moved = stage(world, (C, C), during=world.answers(A, C), usable=(B, C))

    assert judge_stage(course(stage(world), moved), 1, "net-pod").ok


@pytest.mark.parametrize("answers", [(A, A), (B, C), (B, None)], ids=["stays", "spreads", "loses"])
def test_a_client_that_is_not_bound_to_one_that_may_be_used_is_wrong(
    answers: tuple[str | None, ...], world: World
) -> None:
    verdict = judge_stage(course(stage(world), stage(world, answers, usable=(B, C))), 1, "net-pod")

    assert "answered by one of webpod2, webpod3" in verdict.explain()


def test_a_request_lost_while_nodes_learn_is_wrong(world: World) -> None:
    lost = stage(world, (B, B), during=world.answers(A, None, B), usable=(B, C))

    assert (
        "every request answered while the nodes learn"
        in judge_stage(course(stage(world), lost), 1, "net-pod").explain()
    )


def test_a_request_lost_after_the_node_had_followed_is_wrong(world: World) -> None:
    lost = stage(world, (B, None), usable=(B, C))

    assert not judge_stage(course(stage(world), lost), 1, "net-pod").ok


def test_without_endpoints_nobody_may_answer(world: World) -> None:
    empty = stage(world, (None,), usable=())

    assert judge_stage(course(stage(world), empty), 1, "net-pod").headline == "changed: not answered"
    assert not judge_stage(course(stage(world), stage(world, (A,), usable=())), 1, "net-pod").ok


def test_after_nothing_any_endpoint_may_be_chosen_and_requests_may_be_lost_until_then(world: World) -> None:
    empty, back = stage(world, (None,), usable=()), stage(world, (C, C), during=world.answers(None, C))

    assert judge_stage(course(stage(world), empty, back), 2, "net-pod").ok


def test_rules_that_did_not_follow_are_wrong(world: World) -> None:
    from session_affinity.dataplane.differences import Aspect, Difference

    wrong = Difference("a", "KUBE-SVC-X", 3, Aspect.LEFTOVER, "no such rule", "-j KUBE-SEP-A", "none of its endpoints")
    late = stage(world, differences={"a": (wrong,), "b": ()})

    assert judge_rules(stage(world)).ok
    assert "-j KUBE-SEP-A" in judge_rules(late).explain()
    assert not judge_stage(course(stage(world), late), 1, "net-pod").ok


def affinity_rules(world: World, **nodes: dict[int, dict[str, tuple[int, ...]]]) -> Stage:
    states = {name: world.node(name, entries) for name, entries in nodes.items()}
    return stage(world, sync=SyncResult((world.service,), states, {}, {}, {}, time.monotonic()))


def test_who_is_remembered_too_early_is_named(world: World) -> None:
    backend = backends.of_mode("iptables")

    assert judge_no_memory_yet(affinity_rules(world, a={}, b={}), backend).ok
    verdict = judge_no_memory_yet(affinity_rules(world, a={}, b={1: {"10.10.0.6": (3,)}}), backend)
    assert "10.10.0.6" in verdict.explain()
    assert "does not hold on b" in verdict.explain()


def test_a_client_is_still_remembered_for_the_endpoint_that_answered(world: World) -> None:
    from types import SimpleNamespace

    client: Client = SimpleNamespace(node="a", address="10.10.0.6")  # type: ignore[assignment]
    backend, before = backends.of_mode("iptables"), stage(world, (B, B))
    right, wrong = (affinity_rules(world, a={place: {"10.10.0.6": (3,)}}) for place in (1, 2))

    assert judge_still_remembered(before, right, client, backend).ok
    assert not judge_still_remembered(before, wrong, client, backend).ok
    assert not judge_still_remembered(before, affinity_rules(world, a={}), client, backend).ok


def test_what_is_left_of_a_service_is_named_by_node(world: World) -> None:
    clean = replace(course(stage(world)), left={"a": (), "b": ()})
    dirty = replace(clean, left={"a": (), "b": ("list KUBE-SEP-X",)})

    assert judge_nothing_left({"scaled": clean}).headline == "nothing of 1 Services on 2 nodes"
    assert "list KUBE-SEP-X" in judge_nothing_left({"scaled": clean, "rolled": dirty}).explain()


def test_a_course_is_told_line_by_line(world: World) -> None:
    text = course(stage(world, (A,)), stage(world, (B,), during=world.answers(None))).csv()

    assert text.splitlines()[1:] == [
        '0,changed,after,webpod1,40000,,,""',
        '1,changed,during,,40000,,,"curl 28: timed out"',
        '1,changed,after,webpod2,40000,,,""',
    ]


def test_nobody_is_no_answers() -> None:
    assert len(Answers(())) == 0
