"""Reports as text and as a table."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.conformance import overview, report
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.result import Outcome, SkipReason
from session_affinity.errors import SuiteError, UsageError
from tests.unit.conformance.conftest import CATALOGUE, run_of

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.conformance.report import RunDescription


def document(description: RunDescription, version: str, **outcomes: Outcome | SkipReason) -> dict[str, Any]:
    implementation = Implementation("kubernetes", "kube-proxy", version=version, mode="iptables")
    return report.document(run_of(**outcomes), CATALOGUE, replace(description, implementation=implementation))


def test_a_report_is_shown_with_what_did_not_pass(description: RunDescription) -> None:
    shown = document(description, "v1", C24=Outcome.FAILED, C10=SkipReason.DESELECTED, C16=Outcome.UNDETERMINED)

    lines = list(overview.summary(shown))

    assert lines[0] == "implementation: kubernetes kube-proxy v1, mode iptables"
    assert "profile api: failure (0 of 2); supported features: dualStack, loadBalancerAddress" in lines
    assert "failed C24 A client expires: what was seen" in lines
    assert "undetermined C16 Rules have arguments: what was seen" in lines
    assert "skipped C10: deselected: a rule" in lines


def test_the_table_has_a_row_for_each_report_in_the_order_of_versions(
    description: RunDescription, tmp_path: Path
) -> None:
    for version in ("v1.9.1", "v1.10.0"):
        report.write(document(description, version, C61=SkipReason.NOT_APPLICABLE), tmp_path / f"{version}-report.yaml")

    stored = overview.read_reports([tmp_path])
    head, _, *rows = overview.table(stored, link=lambda one: one.file.name)

    assert head.startswith("| implementation | version | mode |")
    assert [row.split(" | ")[1] for row in rows] == ["[v1.9.1](v1.9.1-report.yaml)", "[v1.10.0](v1.10.0-report.yaml)"]
    assert "success (2 of 2) | success (1 of 1) | - | loadBalancerAddress, recovery | 0.2.0 |" in rows[0]


def test_a_report_of_another_catalogue_is_marked(description: RunDescription, tmp_path: Path) -> None:
    report.write(document(description, "v1"), tmp_path / "report.json")
    stored = overview.read_reports([tmp_path])

    assert "0.2.0, another catalogue |" in list(overview.table(stored, "sha256:0"))[2]
    assert "0.2.0 |" in list(overview.table(stored, stored[0].digest))[2]


def test_texts_of_a_report_are_no_markdown() -> None:
    assert overview.escaped("a|b\n[c](d) <e>") == r"a\|b \[c\](d) \<e\>"


def test_claims_that_do_not_apply_are_not_counted(description: RunDescription) -> None:
    made = document(description, "v1", C24=SkipReason.NOT_APPLICABLE)

    assert overview.profile_cell(made["profiles"][0]) == "success (1 of 1)"


def test_a_directory_without_reports_or_with_a_broken_one_is_refused(
    description: RunDescription, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no report below"):
        overview.read_reports([tmp_path])

    broken = copy.deepcopy(document(description, "v1"))
    broken["claims"].pop()
    report.write(broken, tmp_path / "x-report.yaml")
    with pytest.raises(SuiteError, match=r"x-report\.yaml is no valid report"):
        overview.read_reports([tmp_path])
