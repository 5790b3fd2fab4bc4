"""What actionlint and zizmor do not look at: that the workflows are what this project wants of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{file.stem}.{name}")
        for file in WORKFLOWS
        for name, job in yaml.safe_load(file.read_text())["jobs"].items()
    ]


def commands() -> list[Any]:
    return [
        pytest.param(step["run"], id=f"{job.id}.{number}")
        for job in jobs()
        for number, step in enumerate(job.values[0]["steps"])
        if "run" in step
    ]


def test_there_are_the_three_workflows() -> None:
    assert [file.stem for file in WORKFLOWS] == ["conformance", "tests", "versions"]


@pytest.mark.parametrize("command", commands())
def test_what_is_long_or_not_tried_here_is_not_in_a_workflow(command: str) -> None:
    assert len(command.splitlines()) <= 3
    for target in re.findall(r"\bmake ((?:[a-z]+ ?)+)", command):
        for name in target.split():
            assert re.search(rf"^{name}:", MAKEFILE, re.MULTILINE), f"no target {name}"
    for script in re.findall(r"\bscripts/[\w.-]+", command):
        assert (ROOT / script).stat().st_mode & 0o100, f"{script} cannot be run"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_nothing_is_allowed_but_what_a_job_asks_for(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {}


@pytest.mark.parametrize("job", jobs())
def test_every_job_says_what_it_may_do_and_how_long_it_may_take(job: dict[str, Any]) -> None:
    assert "permissions" in job
    assert job["timeout-minutes"] <= 90


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned_with_their_version_beside(file: Path) -> None:
    used = re.findall(r"uses: (.*)", file.read_text())

    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_unit_tests_run_on_every_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())

    first, beyond = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    assert tests["jobs"]["unit"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(first, beyond)]


@pytest.mark.parametrize("name", ["conformance", "tests"])
def test_one_job_of_the_workflows_name_stands_for_all_others(name: str) -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]

    assert set(jobs[name]["needs"]) == set(jobs) - {name}
    assert jobs[name]["if"] == "${{ always() }}"
