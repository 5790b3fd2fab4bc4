"""Clients of Services whose endpoints change, judged by results of steps written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims.known_behaviour import UNUSED_CHAINS_KEPT
from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.errors import NothingObservedError, NotReadyError
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
from session_affinity.scenarios.endpoint_changes.scenario import Scenario, ScenarioStep
from session_affinity.testbed.testbed import SyncResult
from session_affinity.verdicts.endpoint_changes import (
    judge_entry_kept,
    judge_leftovers,
    judge_no_entries,
    judge_step,
    judge_step_rules,
    judge_steps,
)
from session_affinity.verdicts.verdict import Verdict, combine
from tests.unit.verdicts.conftest import CLIENT, CLIENT_ID, HOME, explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit
A, B, C = "webpod1", "webpod2", "webpod3"
MADE, FIRST, SECOND = ScenarioStep.MADE, ScenarioStep.SCALED_TO_5, ScenarioStep.SCALED_TO_0
WRONG = Difference("a", "KUBE-SVC-X", 3, Aspect.LEFTOVER, "no such rule", "-j KUBE-SEP-A", "none of its endpoints")


def step(world: World, answers: tuple[str | None, ...] = (A,) * 3, **changes: object) -> StepResult:
    """Return a step after which all three endpoints may be used, on a cluster whose nodes cannot be read."""
    usual = {
        "step": FIRST,
        "service": world.service,
        "sync": SyncResult((world.service,), {}, {}, {}, {}, 0.5),
        "answers": world.answers(*answers),
        "usable": (A, B, C),
    }
    return StepResult(**{**usual, **changes})  # type: ignore[arg-type]


def result(*steps: StepResult) -> ScenarioResult:
    """Return a scenario of these steps, the first of which made the Service."""
    names = (MADE, FIRST, SECOND)
    return ScenarioResult(tuple(replace(one, step=name) for one, name in zip(steps, names, strict=False)))


def test_a_client_that_stays_with_its_endpoint_holds(world: World) -> None:
    verdict = judge_step(result(step(world), step(world, during=world.answers(A, A))), FIRST, CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "scaled to 5: stays, 0 of 2 requests lost in 0.0 s"


def test_a_client_that_moves_though_its_endpoint_may_be_used_does_not_hold(world: World) -> None:
    verdict = judge_step(result(step(world), step(world, (B, B))), FIRST, CLIENT_ID)

    assert not verdict.ok
    assert "answered by webpod1, which the client is bound to" in explained(verdict)
    assert "webpod2 2" in explained(verdict)


def test_a_client_that_strays_while_the_nodes_follow_does_not_hold(world: World) -> None:
    verdict = judge_step(result(step(world), step(world, during=world.answers(A, C, A))), FIRST, CLIENT_ID)

    assert "answers from webpod1 only" in explained(verdict)


def test_an_answer_of_another_pod_while_the_nodes_follow_does_not_hold(world: World) -> None:
    verdict = judge_step(result(step(world), step(world, during=world.answers(A, "old"))), FIRST, CLIENT_ID)

    assert "expected: answers from webpod1, webpod2, webpod3 only" in explained(verdict)


def test_a_client_whose_endpoint_went_is_bound_to_one_other(world: World) -> None:
    moved = step(world, (C, C), during=world.answers(A, C), usable=(B, C))

    assert judge_step(result(step(world), moved), FIRST, CLIENT_ID).ok


@pytest.mark.parametrize("answers", [(A, A), (B, C), (B, None)], ids=["stays", "spreads", "loses"])
def test_a_client_that_is_not_bound_to_one_usable_endpoint_does_not_hold(
    answers: tuple[str | None, ...], world: World
) -> None:
    verdict = judge_step(result(step(world), step(world, answers, usable=(B, C))), FIRST, CLIENT_ID)

    assert "answered by one of webpod2, webpod3" in explained(verdict)


def test_a_request_lost_while_the_nodes_follow_does_not_hold(world: World) -> None:
    lost = step(world, (B, B), during=world.answers(A, None, B), usable=(B, C))

    text = explained(judge_step(result(step(world), lost), FIRST, CLIENT_ID))

    assert "every request answered while the nodes process the change" in text


def test_a_request_lost_after_the_node_had_followed_does_not_hold(world: World) -> None:
    lost = step(world, (B, None), usable=(B, C))

    assert not judge_step(result(step(world), lost), FIRST, CLIENT_ID).ok


def test_a_request_that_times_out_is_not_judged_where_the_client_had_no_time_to_run(world: World) -> None:
    def judged(pause: float, *during: str | None, after: tuple[str | None, ...] = (A, A)) -> Verdict:
        later = step(world, after, during=world.stream(*during, pause=pause))
        return judge_step(result(step(world), later), FIRST, CLIENT_ID)

    lost: tuple[str | None, ...] = (*[A] * 10, None, *[A] * 10)
    with pytest.raises(NotReadyError, match=r"1 of 26 requests timed out.* over 0.25 s after the one before"):
        judged(0.25, *lost)
    assert not judged(0.05, *lost).ok, "a client in time"
    assert not judged(0.25, *lost, C).ok, "another endpoint's answer is no time-out"
    assert not judged(0.25, *lost, after=(B, B)).ok, "a client that moved"
    assert not judged(0.25, *[A, None] * 20).ok, "no request was between two answers: nothing shows the pace"
    assert judged(0.25, *[A] * 20).ok, "nothing lost"


def test_a_client_that_was_not_answered_before_a_change_does_not_hold(world: World) -> None:
    lost = step(world, (None, None))

    assert "an answer before 'scaled to 5'" in explained(judge_step(result(lost, step(world)), FIRST, CLIENT_ID))


def test_without_endpoints_no_answer_holds(world: World) -> None:
    empty = step(world, (None,), usable=())

    assert judge_step(result(step(world), empty), FIRST, CLIENT_ID).headline == "scaled to 5: not answered"
    assert not judge_step(result(step(world), step(world, (A,), usable=())), FIRST, CLIENT_ID).ok


def test_after_no_endpoints_any_may_be_chosen_and_requests_may_be_lost_until_then(world: World) -> None:
    empty, back = step(world, (None,), usable=()), step(world, (C, C), during=world.answers(None, C))

    assert judge_step(result(step(world), empty, back), SECOND, CLIENT_ID).ok


def test_all_changes_are_judged_unless_some_are_named(world: World) -> None:
    seen = result(step(world), step(world), step(world, (B, B)))

    assert not judge_steps(seen, CLIENT_ID).ok
    assert judge_steps(seen, CLIENT_ID, FIRST).ok


def test_a_step_that_did_not_happen_is_no_evidence(world: World) -> None:
    seen = result(step(world), step(world))

    with pytest.raises(NothingObservedError, match="'the port renamed' did not happen"):
        seen.step(ScenarioStep.PORT_RENAMED)
    with pytest.raises(NothingObservedError, match="no step before 'made'"):
        seen.before(MADE)


def test_rules_that_did_not_follow_do_not_hold(world: World) -> None:
    late = read_step(world, differences={"a": (WRONG,), "b": ()})

    assert judge_step_rules(read_step(world, differences={"a": (), "b": ()})).headline == "rules right on 2 nodes"
    assert "-j KUBE-SEP-A" in explained(judge_step_rules(late))
    assert "read 0.5 s after 'scaled to 5'" in explained(judge_step_rules(late))
    assert not judge_step(result(step(world), late), FIRST, CLIENT_ID).ok


@pytest.mark.parametrize("wrong", ["rules", "answers", "answers before", "lists", "entry"])
def test_what_differs_where_a_node_had_no_time_for_the_change_is_not_judged(world: World, wrong: str) -> None:
    states = {HOME: world.node(HOME, {1: {CLIENT: (3,)}})}
    differing = replace(WRONG, node=HOME)

    def judged(reads: int, processed: tuple[str, ...] = ()) -> Verdict:
        sync = SyncResult(
            (world.service,), states, {}, {HOME: (differing,)}, {}, 26.2, frozenset(processed), reads=reads
        )
        late = step(world, sync=sync, differences={HOME: (differing,) if wrong == "rules" else ()})
        elsewhere = replace(late, answers=world.answers(B, B))
        match wrong:
            case "rules":
                return judge_step_rules(late)
            case "answers":
                return judge_step(result(step(world), elsewhere), FIRST, CLIENT_ID)
            case "answers before":
                return judge_step(result(elsewhere, step(world)), FIRST, CLIENT_ID)
            case "lists":
                return judge_no_entries(late, IPTABLES)
            case _:
                return judge_entry_kept(result(late, late), FIRST, CLIENT_ID, IPTABLES)

    assert not judged(reads=40).ok
    assert not judged(reads=3, processed=(HOME,)).ok
    with pytest.raises(NotReadyError, match=rf"{HOME}: not programmed 26\.2 s after the change, in 3 reads"):
        judged(reads=3)


def test_two_steps_that_differ_alike_name_each_difference_once(world: World) -> None:
    again = replace(WRONG, rule=4)
    differences = {"a": (WRONG, again), "b": ()}
    steps = result(*(read_step(world, differences=differences) for _ in range(3))).steps

    lines = explained(judge_step_rules(*steps)).splitlines()

    assert lines.count("  a: KUBE-SVC-X rule 3, leftover") == 1
    assert lines.count("  a: KUBE-SVC-X rule 4, leftover") == 1
    assert len([line for line in lines if "seen: -j KUBE-SEP-A" in line]) == 2
    assert lines[0].count("KUBE-SVC-X rule 3") == 1


def read_step(
    world: World, *, differences: object = None, **nodes: dict[int, dict[str, tuple[int, ...]]]
) -> StepResult:
    """Return a step after which nodes were read; their entries by endpoint number and client, as seconds ago."""
    states = {name: world.node(name, entries) for name, entries in (nodes or {"a": {}, "b": {}}).items()}
    sync = SyncResult((world.service,), states, {}, {}, {}, 0.5)
    return step(world, sync=sync, differences=differences or dict.fromkeys(states, ()))


def test_entries_before_the_first_request_do_not_hold(world: World) -> None:
    assert judge_no_entries(read_step(world), IPTABLES).ok
    verdict = judge_no_entries(read_step(world, a={}, b={1: {CLIENT: (3,)}}), IPTABLES)
    assert CLIENT in explained(verdict)
    assert "does not hold on b" in explained(verdict)


def test_a_node_without_lists_is_no_evidence_of_no_entries(world: World) -> None:
    sync = SyncResult((world.service,), {"a": world.node("a", lists={})}, {}, {}, {}, 0.5)

    assert "seen: 0 lists" in explained(judge_no_entries(step(world, sync=sync), IPTABLES))


@pytest.mark.parametrize(
    ("returned", "lists", "known"),
    [
        ({}, {1: {CLIENT: (3,)}}, False),
        ({"b": (B,)}, {1: {CLIENT: (3,)}}, True),
        ({"b": (B,)}, {1: {CLIENT: (3,)}, 2: {CLIENT: (3,)}}, False),
        ({"a": (B,)}, {1: {CLIENT: (3,)}}, False),
    ],
)
def test_entries_of_an_endpoint_whose_chain_was_kept_are_known(
    world: World, returned: dict[str, tuple[str, ...]], lists: dict[int, dict[str, tuple[int, ...]]], *, known: bool
) -> None:
    verdict = judge_no_entries(replace(read_step(world, a={}, b=lists), returned=returned), IPTABLES)

    assert not verdict.ok
    assert verdict.known is (UNUSED_CHAINS_KEPT if known else None)


@pytest.mark.parametrize(
    ("returned", "during", "after", "known"),
    [
        ({HOME: (B,)}, (A, B), (B, B), True),
        ({HOME: (B,)}, (A, None), (B, B), False),
        ({HOME: (B,)}, (A, C), (B, B), False),
        ({HOME: (B,)}, (A, C), (C, C), False),
        ({HOME: (B,)}, (A, A), (B, A), False),
        ({"elsewhere": (B,)}, (A, B), (B, B), False),
        ({}, (A, B), (B, B), False),
    ],
)
def test_a_client_that_moves_to_an_endpoint_whose_chain_was_kept_is_known(
    world: World,
    returned: dict[str, tuple[str, ...]],
    during: tuple[str | None, ...],
    after: tuple[str | None, ...],
    *,
    known: bool,
) -> None:
    changed = step(world, after, during=world.answers(*during), returned=returned)

    verdict = judge_step(result(step(world, (A, A)), changed), FIRST, CLIENT_ID)

    assert not verdict.ok
    assert verdict.known is (UNUSED_CHAINS_KEPT if known else None)


def test_a_verdict_of_several_parts_is_known_when_all_that_do_not_hold_are(world: World) -> None:
    known = judge_no_entries(replace(read_step(world, b={1: {CLIENT: (3,)}}), returned={"b": (B,)}), IPTABLES)
    other, right = judge_no_entries(read_step(world, a={2: {CLIENT: (3,)}}), IPTABLES), Verdict("right")

    assert combine(right, known).known is UNUSED_CHAINS_KEPT
    assert combine(known, other).known is None
    assert combine(right).known is None


def test_a_client_keeps_its_entry_for_the_endpoint_that_answered(world: World) -> None:
    right, wrong, none = (
        result(step(world, (B, B)), read_step(world, **{HOME: entries}))
        for entries in ({1: {CLIENT: (3,)}}, {2: {CLIENT: (3,)}}, {})
    )

    assert judge_entry_kept(right, FIRST, CLIENT_ID, IPTABLES).ok
    text = explained(judge_entry_kept(wrong, FIRST, CLIENT_ID, IPTABLES))
    assert "expected: entry 10.10.0.6 -> webpod2 (the pod that answered it), and no other entry of it" in text
    assert not judge_entry_kept(none, FIRST, CLIENT_ID, IPTABLES).ok


def test_leftovers_of_a_service_are_named_by_node(world: World) -> None:
    clean = replace(result(step(world)), left={"a": (), "b": ()})
    dirty = replace(clean, left={"a": (), "b": ("list KUBE-SEP-X",)})

    assert judge_leftovers({Scenario.SCALED: clean}).headline == "nothing of 1 Services on 2 nodes"
    assert "list KUBE-SEP-X" in explained(judge_leftovers({Scenario.SCALED: clean, Scenario.ROLLED: dirty}))


def test_a_result_has_a_line_for_each_answer(world: World) -> None:
    text = result(step(world, (A,)), step(world, (B,), during=world.answers(None))).csv()

    assert text.splitlines()[1:] == [
        '0,made,after,webpod1,40000,,,""',
        '1,scaled to 5,during,,40000,,,"curl 28: timed out"',
        '1,scaled to 5,after,webpod2,40000,,,""',
    ]
