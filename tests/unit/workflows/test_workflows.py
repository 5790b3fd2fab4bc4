"""The project's own rules for workflows, which actionlint and zizmor do not check."""

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
        for number, step in enumerate(job.values[0].get("steps", ()))
        if "run" in step
    ]


def test_there_are_the_six_workflows() -> None:
    assert [file.stem for file in WORKFLOWS] == [
        "conformance",
        "dataplanes",
        "kind-and-cni",
        "release",
        "tests",
        "versions",
    ]


@pytest.mark.parametrize("command", commands())
def test_commands_are_short_and_call_targets_and_scripts_that_exist(command: str) -> None:
    assert len(command.splitlines()) <= 3
    for target in re.findall(r"\bmake ((?:[a-z]+ ?)+)", command):
        for name in target.split():
            assert re.search(rf"^{name}:", MAKEFILE, re.MULTILINE), f"no target {name}"
    for script in re.findall(r"\bscripts/[\w.-]+", command):
        assert (ROOT / script).stat().st_mode & 0o100, f"{script} cannot be run"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_grants_no_permission_by_itself(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {}


@pytest.mark.parametrize("job", jobs())
def test_every_job_has_permissions_and_a_timeout(job: dict[str, Any]) -> None:
    assert "permissions" in job
    # A job that calls a workflow has the timeouts of that workflow's jobs.
    assert "uses" in job or job["timeout-minutes"] <= 90


@pytest.mark.parametrize("file", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda file: file.stem)
def test_actions_are_pinned_to_a_commit_with_the_version_in_a_comment(file: Path) -> None:
    used = re.findall(r"uses: (?!\./\.(?:session-affinity|github/workflows/[\w-]+\.yml) )(.*)", file.read_text())

    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_unit_tests_run_on_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())

    first, beyond = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    assert tests["jobs"]["unit"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(first, beyond)]


@pytest.mark.parametrize("name", ["conformance", "tests"])
def test_the_job_named_like_its_workflow_needs_all_other_jobs(name: str) -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]

    assert set(jobs[name]["needs"]) == set(jobs) - {name}
    assert jobs[name]["if"] == "${{ always() }}"


def test_a_leg_of_the_conformance_workflow_sets_every_option_of_its_leg() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "conformance.yml").read_text())["jobs"]
    (variables,) = (step["env"] for step in jobs["leg"]["steps"] if "make affinity" in step.get("run", ""))

    fields = {f"${{{{ matrix.{field} }}}}" for field in ("leg", "kubernetes", "proxy_mode", "ip_family")}
    assert fields <= set(variables.values())
    for variable, option in (("KUBERNETES", "kubernetes"), ("PROXY_MODE", "proxy-mode"), ("IP_FAMILY", "ip-family")):
        assert f"$(if $({variable}),--{option} $({variable}))" in MAKEFILE


@pytest.mark.parametrize("target", ["lint", "types", "unit", "component", "docs", "workflows", "report-tools"])
def test_targets_without_an_embedded_cluster_need_no_system_packages(target: str) -> None:
    assert re.search(rf"^{target}: environment( ##|$)", MAKEFILE, re.MULTILINE)
