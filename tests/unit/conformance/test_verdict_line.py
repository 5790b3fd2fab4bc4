"""One line says how a run ended, which claims did not pass, and where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.conformance import report
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.conformance.result import Outcome, SkipReason
from session_affinity.conformance.verdict_line import VERDICTS, verdict_line
from tests.unit.conformance.conftest import CATALOGUE, run_of

if TYPE_CHECKING:
    from session_affinity.conformance.report import RunDescription

pytestmark = pytest.mark.unit


def line(code: int, about: RunDescription, **outcomes: Outcome | SkipReason) -> str:
    return verdict_line(code, report.document(run_of(**outcomes), CATALOGUE, about))


def test_a_cluster_that_keeps_every_claim(description: RunDescription) -> None:
    assert line(0, description, C61=SkipReason.NOT_APPLICABLE) == (
        "holds: 5 passed, 1 skipped; Kubernetes v1.37.2, kube-proxy iptables, 4 of 4 nodes, suite 0.2.0"
    )


def test_claims_that_did_not_pass_are_named(description: RunDescription) -> None:
    said = line(1, description, C10=Outcome.FAILED, C16=Outcome.FAILED, C24=Outcome.UNDETERMINED, C67=Outcome.DIFFERS)

    assert said.startswith("violated: 2 passed, 2 failed, 1 undetermined, 1 differs; ")
    assert "; failed: C10 C16; undetermined: C24; differs: C67; " in said


def test_a_run_without_a_result_refers_to_the_log() -> None:
    assert verdict_line(4, None) == "not run: unusable options; the log says why"
    assert verdict_line(137, None) == "undetermined: exit code 137; the log says why"


def test_every_exit_code_has_a_verdict_and_none_but_0_says_that_claims_hold() -> None:
    assert set(VERDICTS) == set(ExitCode)
    assert [code for code, verdict in VERDICTS.items() if "holds" in verdict] == [ExitCode.HOLDS]
