"""The exit code of a run."""

from __future__ import annotations

import pytest

from session_affinity.conformance.exit_codes import ExitCode, exit_code
from session_affinity.conformance.result import Outcome, SkipReason
from tests.unit.conformance.conftest import CLAIMS, run_of

ALL = [claim.id for claim, _, _ in CLAIMS]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({}, ExitCode.HOLDS),
        ({"C10": Outcome.FAILED}, ExitCode.VIOLATED),
        ({"C10": Outcome.FAILED, "C24": Outcome.UNDETERMINED}, ExitCode.VIOLATED),
        ({"C24": Outcome.UNDETERMINED}, ExitCode.UNDETERMINED),
        ({"C10": Outcome.DIFFERS, "C24": Outcome.UNDETERMINED}, ExitCode.UNDETERMINED),
        ({"C10": Outcome.DIFFERS}, ExitCode.HOLDS),
        ({"C16": SkipReason.NO_ACCESS}, ExitCode.HOLDS),
        (dict.fromkeys(ALL, SkipReason.NOT_APPLICABLE), ExitCode.NOTHING_JUDGED),
        (dict.fromkeys(ALL, SkipReason.DESELECTED), ExitCode.NOTHING_JUDGED),
    ],
)
def test_violation_comes_before_trouble_and_trouble_before_success(
    outcomes: dict[str, Outcome | SkipReason], expected: ExitCode
) -> None:
    assert exit_code(run_of(**outcomes)) is expected


def test_required_node_claims_that_could_not_be_reached_are_not_green() -> None:
    assert exit_code(run_of(C16=SkipReason.NO_ACCESS), require_node_claims=True) is ExitCode.UNDETERMINED
    assert exit_code(run_of(C16=SkipReason.NOT_APPLICABLE), require_node_claims=True) is ExitCode.HOLDS
