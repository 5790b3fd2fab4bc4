"""Verdicts about flows of datagrams while endpoints change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import NothingObservedError
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
from session_affinity.scenarios.endpoint_changes.scenario import ScenarioStep
from session_affinity.testbed.testbed import SyncResult
from session_affinity.verdicts.flows import (
    judge_flows_answered,
    judge_flows_at_one_endpoint,
    judge_flows_kept,
    judge_flows_left,
    judge_flows_unanswered,
)
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from session_affinity.verdicts.verdict import Verdict
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit

A, B, C = "webpod1", "webpod2", "webpod3"
REMOVED, BACK = ScenarioStep.ENDPOINT_REMOVED, ScenarioStep.ENDPOINT_GIVEN_BACK


def scenario(world: World, *steps: tuple[ScenarioStep, tuple[str, ...], list[list[str | None]]]) -> ScenarioResult:
    """Return a scenario; for each step the usable pods, and the endpoints that answered each flow."""
    results = (
        StepResult(
            step,
            world.service,
            SyncResult((world.service,), {}, {}, {}, {}, 0.5),
            usable=usable,
            flows=tuple(world.answers(*of_flow) for of_flow in flows),
        )
        for step, usable, flows in steps
    )
    return ScenarioResult(tuple(results))


def moved(world: World, during: list[list[str | None]], later: list[list[str | None]]) -> ScenarioResult:
    """Return a scenario in which A was removed and given back, with one flow at A and one at B."""
    return scenario(
        world,
        (ScenarioStep.MADE, (A, B, C), [[A, A], [B, B]]),
        (REMOVED, (B, C), during),
        (BACK, (A, B, C), later),
    )


def left(result: ScenarioResult) -> Verdict:
    return judge_flows_left(result, REMOVED, BACK, CLIENT_ID)


def kept(result: ScenarioResult) -> Verdict:
    return judge_flows_kept(result, CLIENT_ID, REMOVED, BACK)


def test_flows_leave_an_endpoint_that_is_removed_and_the_others_stay(world: World) -> None:
    result = moved(world, [[A, None, C], [B, B]], [[C, C], [B, B]])

    assert left(result).headline == "1 of 1 flows left the endpoint that was removed"
    assert left(result).ok
    assert kept(result).ok
    assert kept(result).headline == "3 times a flow stayed"


def test_a_flow_that_stays_at_an_endpoint_that_was_removed_is_named(world: World) -> None:
    verdict = left(moved(world, [[A, A], [B, B]], [[A, A], [B, B]]))

    assert not verdict.ok
    assert "1 flows that were at webpod1 answered by webpod2 or webpod3" in explained(verdict)
    assert "webpod1 x2" in explained(verdict)


def test_a_flow_that_gets_no_answer_any_more_has_not_left(world: World) -> None:
    assert not left(moved(world, [[A, None], [B, B]], [[None, None], [B, B]])).ok


def test_a_flow_to_an_endpoint_that_stays_must_not_be_cut(world: World) -> None:
    verdict = kept(moved(world, [[C, C], [B, C, B]], [[C, C], [B, B]]))

    assert not verdict.ok
    assert "webpod2, webpod3, webpod2" in explained(verdict)


def test_a_flow_that_moved_stays_when_its_endpoint_is_back(world: World) -> None:
    assert not kept(moved(world, [[C, C], [B, B]], [[C, A], [B, B]])).ok


def test_a_lost_datagram_cuts_no_flow_unless_it_is_the_last(world: World) -> None:
    assert kept(moved(world, [[C, C], [B, None, B]], [[C, C], [B, B]])).ok
    assert not kept(moved(world, [[C, C], [B, B, None]], [[C, C], [B, B]])).ok


def test_without_a_flow_at_the_removed_endpoint_nothing_is_judged(world: World) -> None:
    result = scenario(
        world,
        (ScenarioStep.MADE, (A, B, C), [[B]]),
        (REMOVED, (B, C), [[B]]),
        (BACK, (A, B, C), [[B]]),
    )

    with pytest.raises(NothingObservedError, match=r"flows of net-pod .* to an endpoint that was removed"):
        left(result)


def emptied(world: World, during: list[list[str | None]], later: list[list[str | None]]) -> ScenarioResult:
    return scenario(
        world,
        (ScenarioStep.MADE, (A, B, C), [[A], [B]]),
        (ScenarioStep.SCALED_TO_0, (), during),
        (ScenarioStep.SCALED_TO_3, (A, B, C), later),
    )


def test_without_endpoints_flows_are_unanswered_and_answered_again_with_some(world: World) -> None:
    result = emptied(world, [[A, None], [None]], [[None, B], [A]])

    assert judge_flows_unanswered(result, ScenarioStep.SCALED_TO_0, CLIENT_ID).headline == "2 of 2 flows unanswered"
    assert judge_flows_unanswered(result, ScenarioStep.SCALED_TO_0, CLIENT_ID).ok
    assert judge_flows_answered(result, ScenarioStep.SCALED_TO_3, CLIENT_ID).ok


def test_flows_that_are_answered_without_endpoints_are_named(world: World) -> None:
    verdict = judge_flows_unanswered(emptied(world, [[A, A], [None]], [[A], [A]]), ScenarioStep.SCALED_TO_0, CLIENT_ID)

    assert verdict.headline == "1 of 2 flows unanswered"
    assert "webpod1 x2" in explained(verdict)


def test_flows_that_nothing_answers_are_named(world: World) -> None:
    verdict = judge_flows_answered(emptied(world, [[None], [None]], [[None], [A]]), ScenarioStep.SCALED_TO_3, CLIENT_ID)

    assert not verdict.ok
    assert "2 flows answered by webpod1 or webpod2 or webpod3" in explained(verdict)


def test_flows_that_were_never_answered_say_nothing(world: World) -> None:
    result = scenario(world, (ScenarioStep.MADE, (A,), [[None]]), (ScenarioStep.SCALED_TO_0, (), [[None]]))

    with pytest.raises(NothingObservedError, match=r"1 of 1 flows of net-pod .* were not answered before any change"):
        judge_flows_unanswered(result, ScenarioStep.SCALED_TO_0, CLIENT_ID)


def test_a_flow_stays_through_a_restart(world: World) -> None:
    stayed, cut = world.answers(A, None, A), world.answers(B, C)

    assert judge_flows_at_one_endpoint(world.service, CLIENT_ID, [stayed]).headline == "1 of 1 flows stayed"
    assert not judge_flows_at_one_endpoint(world.service, CLIENT_ID, [stayed, cut]).ok
    assert not judge_flows_at_one_endpoint(world.service, CLIENT_ID, [world.answers(A, None)]).ok
