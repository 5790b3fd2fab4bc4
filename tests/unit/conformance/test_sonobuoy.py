"""A report as Sonobuoy reads it: every claim a leaf, and nothing undetermined counted as passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.conformance import report, sonobuoy
from session_affinity.conformance.result import Outcome, SkipReason
from tests.unit.conformance.conftest import CATALOGUE, run_of

if TYPE_CHECKING:
    from session_affinity.conformance.report import RunDescription

pytestmark = pytest.mark.unit


def results(about: RunDescription, **outcomes: Outcome | SkipReason) -> dict[str, object]:
    return sonobuoy.results(report.document(run_of(**outcomes), CATALOGUE, about))


def test_every_claim_is_a_leaf_below_its_subject(description: RunDescription) -> None:
    root = results(description, C16=Outcome.FAILED, C61=SkipReason.NOT_APPLICABLE)

    leaves = {item["meta"]["claim"]: item for branch in root["items"] for item in branch["items"]}
    assert list(leaves) == list(CATALOGUE)
    assert leaves["C16"]["name"] == "C16 Rules have arguments"
    assert (leaves["C16"]["status"], leaves["C16"]["details"]["message"]) == ("failed", "what was seen")
    assert (leaves["C61"]["status"], leaves["C61"]["details"]["reason"]) == ("skipped", "notApplicable")
    assert {branch["name"]: branch["status"] for branch in root["items"]}["rules"] == "failed"


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ({}, "passed"),
        ({"C10": Outcome.UNDETERMINED}, "undetermined"),
        ({"C10": Outcome.UNDETERMINED, "C16": Outcome.FAILED}, "failed"),
        ({"C16": Outcome.DIFFERS}, "differs"),
        (dict.fromkeys(CATALOGUE, SkipReason.DESELECTED), "skipped"),
    ],
)
def test_the_gravest_status_is_that_of_the_run(
    description: RunDescription, outcomes: dict[str, Outcome | SkipReason], status: str
) -> None:
    assert results(description, **outcomes)["status"] == status
