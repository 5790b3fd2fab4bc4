"""Outcomes read from a run's JUnit file, and compared with what a defect must cause."""

from __future__ import annotations

import contextlib

import pytest

from tests.defects.defect import Defect, Place
from tests.defects.run_outcome import (
    DIFFERS,
    ERROR,
    FAILED,
    PASSED,
    SKIPPED,
    ClaimOutcome,
    RunOutcome,
    contradictions,
    read,
)

NODES = {place: f"defects-{place}" for place in Place}
MESSAGE = "C16 does not hold on defects-worker2: rule 2: --seconds 3600\n  expected: 10800"
DEFECT = Defect(
    "timeout", lambda _: contextlib.nullcontext(), {"C16": "--seconds 3600.*10800"}, passes=("C10",), at=Place.SICK
)


def run(**outcomes: ClaimOutcome) -> RunOutcome:
    return RunOutcome(outcomes, "")


def test_outcomes_are_read_by_claim() -> None:
    def case(claim: str, inner: str = "") -> str:
        return f'<testcase><properties><property name="claim" value="{claim}"/></properties>{inner}</testcase>'

    cases = (
        case("C10"),
        case("C16", '<failure message="x">C16 does not hold</failure>'),
        case("C16", "<error>clean-up failed</error>"),
        case("C20"),
        case("C20", "<error>clean-up failed</error>"),
        case("C13", "<error>no answer</error>"),
        case("C21", "<skipped>nftables</skipped>"),
        case("C94e", '<skipped type="pytest.xfail" message="known"/>'),
        "<testcase/>",
    )
    outcome = read(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")

    assert outcome.outcomes == {
        "C10": ClaimOutcome(PASSED),
        "C16": ClaimOutcome(FAILED, "C16 does not hold"),
        "C20": ClaimOutcome(ERROR, "clean-up failed"),
        "C13": ClaimOutcome(ERROR, "no answer"),
        "C21": ClaimOutcome(SKIPPED, "nftables"),
        "C94e": ClaimOutcome(DIFFERS),
    }
    assert outcome.differing == ("C94e",)
    assert (outcome.failed, outcome.undetermined) == (("C16",), ("C20", "C13"))


def test_a_noticed_defect_contradicts_nothing() -> None:
    assert contradictions(DEFECT, run(C16=ClaimOutcome(FAILED, MESSAGE), C10=ClaimOutcome(PASSED)), NODES) == ()


@pytest.mark.parametrize(
    ("c16", "c10", "beginning"),
    [
        pytest.param(ClaimOutcome(PASSED), ClaimOutcome(PASSED), "C16 passed, and should have failed", id="unnoticed"),
        pytest.param(
            ClaimOutcome(ERROR, "x"), ClaimOutcome(PASSED), "C16 error, and should have failed", id="undetermined"
        ),
        pytest.param(
            ClaimOutcome(FAILED, MESSAGE.replace("3600", "36")),
            ClaimOutcome(PASSED),
            "C16 failed, but its message does not match",
            id="other message",
        ),
        pytest.param(
            ClaimOutcome(FAILED, MESSAGE.replace("worker2", "worker3, defects-worker2")),
            ClaimOutcome(PASSED),
            "C16 failed, but not on defects-worker2 alone",
            id="other node",
        ),
        pytest.param(
            ClaimOutcome(FAILED, MESSAGE),
            ClaimOutcome(FAILED, "y"),
            "C10 failed, and should have passed:\ny",
            id="falsely blamed",
        ),
    ],
)
def test_an_outcome_contradicts_a_defect(c16: ClaimOutcome, c10: ClaimOutcome, beginning: str) -> None:
    (contradiction,) = contradictions(DEFECT, run(C16=c16, C10=c10), NODES)

    assert contradiction.startswith(beginning)


def test_a_claim_that_did_not_run_contradicts_a_defect() -> None:
    assert len(contradictions(DEFECT, run(), NODES)) == 2


def test_patterns_name_nodes() -> None:
    named = Defect("x", DEFECT.injected, {"C16": "{sick}.*3600"})

    assert contradictions(named, run(C16=ClaimOutcome(FAILED, MESSAGE)), NODES) == ()
