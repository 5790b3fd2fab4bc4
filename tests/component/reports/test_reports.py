"""The reports in reports/: valid, complete, named after what they are about; and the pages made from them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import bundle
from session_affinity.conformance import report
from session_affinity.conformance.overview import FILE_NAMES

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = bundle.ROOT / "reports"
FILES = sorted(file for pattern in FILE_NAMES for file in DIRECTORY.rglob(pattern))
FIELDS = ("organization", "project", "url", "version", "contact")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", *arguments), cwd=bundle.ROOT, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def document(file: Path) -> dict[str, Any]:
    return report.read(file)


def test_there_are_reports() -> None:
    assert FILES


def test_every_report_is_valid_and_complete() -> None:
    done = run("session_affinity", "report", "check", *map(str, FILES))

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(FILES)
    assert all("claims of this suite" in line or "made with another catalogue" in line for line in lines)


def test_every_report_names_its_implementation(document: dict[str, Any]) -> None:
    assert [field for field in FIELDS if not document["implementation"][field]] == []


def test_a_report_is_where_its_implementation_version_and_mode_say(file: Path, document: dict[str, Any]) -> None:
    implementation = document["implementation"]

    assert file.parent.name == f"{implementation['organization']}-{implementation['project']}".lower()
    assert file.stem == f"{implementation['version']}-{document['mode']}-report"


def test_every_implementation_has_a_readme(file: Path) -> None:
    assert "## Reproduce" in (file.parent / "README.md").read_text()


def test_the_pages_are_those_of_the_reports() -> None:
    done = run("ci.implementations_page", "--check")

    assert done.returncode == 0, done.stderr
