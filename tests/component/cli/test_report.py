"""``session-affinity report`` on good, edited and foreign reports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from session_affinity import bundle
from session_affinity.conformance import report
from tests.unit.conformance import conftest as small

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.conformance.report import RunDescription

description = small.description


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        (sys.executable, "-m", "session_affinity", "report", *arguments),
        cwd=bundle.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(description: RunDescription, tmp_path: Path) -> Path:
    """A valid report of a catalogue that is not this suite's."""
    path = tmp_path / "report.yaml"
    report.write(report.document(small.run_of(), small.CATALOGUE, description), path)
    return path


def test_check_names_every_problem_of_every_file(file: Path, tmp_path: Path) -> None:
    edited = report.read(file)
    edited["claims"].pop()
    edited["implementation"]["version"] = "main"
    report.write(edited, tmp_path / "edited.yaml")
    (tmp_path / "pod.yaml").write_text("kind: Pod\n")

    code, output, errors = run("check", str(file), str(tmp_path / "edited.yaml"), str(tmp_path / "pod.yaml"))

    assert (code, errors) == (1, "")
    assert f"{file}: valid; made with another catalogue of 6 claims, that of suite 0.2.0" in output
    assert "claims: 5 of the catalogue's 6 claims are there" in output
    assert "implementation: the implementation's version 'main' is a branch" in output
    assert "pod.yaml is no SessionAffinityReport" in output


def test_a_valid_report_is_shown_and_in_the_table(file: Path) -> None:
    assert run("check", str(file))[0] == 0
    assert "profile api: success (2 of 2)" in run("show", str(file))[1]
    for places in ([file.parent], [file], [file, file.parent]):
        code, output, _ = run("table", *map(str, places))
        assert code == 0
        assert output.count("| kubernetes/kube-proxy | v1.37.2 | default | v1.37.2 | success (2 of 2) |") == 1


def test_the_schema_is_printed() -> None:
    code, output, _ = run("schema")

    assert code == 0
    assert json.loads(output) == report.schema()


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    code, _, errors = run("show", str(tmp_path / "missing.yaml"))

    assert code == 4
    assert "next: name a report that --report wrote" in errors
