"""What is read from a run's results, and what a defect makes of it."""

from __future__ import annotations

import contextlib

import pytest

from tests.defects.defect import Defect, Place
from tests.defects.judged import BROKEN, FAILED, PASSED, SKIPPED, Judged, Outcome, contradictions, read

NODES = {place: f"defects-{place}" for place in Place}
MESSAGE = "C16 does not hold on defects-worker2: rule 2: --seconds 3600\n  expected: 10800"
SICK = Defect(
    "timeout", lambda _: contextlib.nullcontext(), {"C16": "--seconds 3600.*10800"}, passes=("C10",), at=Place.SICK
)


def judged(**outcomes: Outcome) -> Judged:
    return Judged(outcomes, "")


def test_outcomes_are_read_by_claim() -> None:
    def case(claim: str, inner: str = "") -> str:
        return f'<testcase><properties><property name="claim" value="{claim}"/></properties>{inner}</testcase>'

    cases = (
        case("C10"),
        case("C16", '<failure message="x">C16 does not hold</failure><error>and no end</error>'),
        case("C13", "<error>no answer</error>"),
        case("C11", "<failure>could not tell: TrafficError: no curl</failure>"),
        case("C21", "<skipped>nftables</skipped>"),
        "<testcase/>",
    )
    found = read(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")

    assert found.outcomes == {
        "C10": Outcome(PASSED),
        "C16": Outcome(FAILED, "C16 does not hold"),
        "C13": Outcome(BROKEN, "no answer"),
        "C11": Outcome(BROKEN, "could not tell: TrafficError: no curl"),
        "C21": Outcome(SKIPPED, "nftables"),
    }
    assert (found.failed, found.broken) == (("C16",), ("C13", "C11"))


def test_a_defect_that_is_noticed_contradicts_nothing() -> None:
    assert contradictions(SICK, judged(C16=Outcome(FAILED, MESSAGE), C10=Outcome(PASSED)), NODES) == ()


@pytest.mark.parametrize(
    ("c16", "c10", "said"),
    [
        pytest.param(Outcome(PASSED), Outcome(PASSED), "C16 passed, and should have failed", id="unnoticed"),
        pytest.param(Outcome(BROKEN, "x"), Outcome(PASSED), "C16 broken, and should have failed", id="broken"),
        pytest.param(
            Outcome(FAILED, MESSAGE.replace("3600", "36")),
            Outcome(PASSED),
            "C16 failed, but not with",
            id="other words",
        ),
        pytest.param(
            Outcome(FAILED, MESSAGE.replace("worker2", "worker3, defects-worker2")),
            Outcome(PASSED),
            "C16 failed, but not on defects-worker2 alone",
            id="other node",
        ),
        pytest.param(
            Outcome(FAILED, MESSAGE), Outcome(FAILED, "y"), "C10 failed, and should have passed:\ny", id="blamed"
        ),
    ],
)
def test_a_run_contradicts_a_defect(c16: Outcome, c10: Outcome, said: str) -> None:
    (found,) = contradictions(SICK, judged(C16=c16, C10=c10), NODES)

    assert found.startswith(said)


def test_a_claim_that_did_not_run_contradicts_it() -> None:
    assert len(contradictions(SICK, judged(), NODES)) == 2


def test_patterns_name_nodes() -> None:
    named = Defect("x", SICK.injected, {"C16": "{sick}.*3600"})

    assert contradictions(named, judged(C16=Outcome(FAILED, MESSAGE)), NODES) == ()
