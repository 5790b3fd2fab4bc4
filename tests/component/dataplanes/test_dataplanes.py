"""The nightly workflow of other dataplanes: its plan, its scripts with stand-ins for kubectl and helm, its reports."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.action import kind_cluster
from ci.dataplanes import plan
from ci.dataplanes.cli import main
from ci.dataplanes.collect import collect
from session_affinity.claims import sources
from session_affinity.conformance import report as reports
from session_affinity.conformance.differences import read_differences
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.result import Outcome
from tests.unit.conformance import conftest as small

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
NIGHTLY: dict[Any, Any] = yaml.safe_load((WORKFLOWS / "dataplanes.yml").read_text())
CALLED: dict[Any, Any] = yaml.safe_load((WORKFLOWS / "kind-and-cni.yml").read_text())
STAND_IN = """\
#!/bin/sh
{ printf '%s' "$(basename "$0")"; printf ' %s' "$@"; printf '\\n'; } >> "$CALLS"
case "$(basename "$0")" in
  kind) echo session-affinity-control-plane session-affinity-worker ;;
  curl) echo '        image: docker.io/cloudnativelabs/kube-router' ;;
  kubectl) case "$*" in *--filename\\ -*) cat >> "$CALLS" ;; esac ;;
esac
case "$*" in *"$FAIL"*) [ -z "$FAIL" ] || exit 1 ;; esac
"""
NAMES = [dataplane.name for dataplane in plan.dataplanes()]
INSTALLED = [leg for leg in plan.matrix()["include"] if leg["setup"] != "true"]
description = small.description


@pytest.fixture
def stand_ins(tmp_path: Path) -> dict[str, str]:
    """An environment in which the programs of the scripts note their arguments in the file CALLS."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("helm", "kubectl", "curl", "git", "docker", "kind", "sleep"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "FAIL": "",
        "TMPDIR": str(tmp_path),
    }


def test_the_named_dataplanes_are_planned() -> None:
    assert NAMES == [
        "cilium",
        "cilium-beside-kube-proxy",
        "calico-iptables",
        "calico-ebpf",
        "ovn-kubernetes",
        "antrea",
        "kube-router",
        "kube-proxy-ipvs",
    ]


def test_the_plan_is_an_output_that_github_reads_as_a_matrix() -> None:
    """With a Python that has no library of the suite, as the job's has none."""
    argv = (sys.executable, "-S", "-m", "ci.dataplanes", "plan")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    name, _, text = done.stdout.partition("=")
    assert (name, text.count("\n")) == ("matrix", 1)
    assert [leg["name"] for leg in json.loads(text)["include"]] == NAMES


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["plan", "cillium"])

    assert refused.value.code == 2
    assert "no dataplane cillium: there are cilium, " in capsys.readouterr().err


@pytest.mark.parametrize("leg", plan.matrix()["include"], ids=NAMES)
def test_a_leg_is_what_the_called_workflow_takes(leg: dict[str, Any]) -> None:
    """Its inputs are inputs, its cluster is one that kind makes, its differences and its version can be read."""
    passed = NIGHTLY["jobs"]["dataplane"]["with"]
    used = {str(value).split("matrix.")[1].split(" ")[0] for value in passed.values() if "matrix." in str(value)}
    cluster = kind_cluster.configuration(
        {
            "WORKERS": "3",
            "DEFAULT_CNI": str(leg["default_cni"]).lower(),
            "PROXY_MODE": leg["proxy_mode"],
            "IP_FAMILY": "ipv4",
        }
    )

    assert set(passed) <= set(CALLED[True]["workflow_call"]["inputs"])
    assert used == set(leg)
    assert cluster["networking"]["kubeProxyMode"] == leg["proxy_mode"]
    assert Implementation(version=leg["version"]).version.startswith("v")
    assert [word.partition("=")[0] for word in shlex.split(leg["args"])] == [
        "--implementation-organization",
        "--implementation-project",
        "--implementation-url",
    ]
    known = read_differences(ROOT / leg["differences"], sources.PROMISES, leg["version"])
    assert all(difference.reason for difference in known.values()), "a difference from a promise of the API"


@pytest.mark.parametrize("leg", plan.matrix()["include"], ids=NAMES)
def test_a_setup_installs_the_planned_version(leg: dict[str, Any], stand_ins: dict[str, str]) -> None:
    """The command runs as the called workflow runs it, with programs that only note what they were asked."""
    argv = ("bash", "-euo", "pipefail", "-c", leg["setup"])
    done = subprocess.run(argv, cwd=ROOT, env=stand_ins, capture_output=True, text=True, check=False, timeout=60)

    calls = Path(stand_ins["CALLS"]).read_text() if Path(stand_ins["CALLS"]).exists() else ""
    assert done.returncode == 0, done.stderr
    if leg["setup"] == "true":
        assert calls == ""
        return
    assert leg["version"].removeprefix("v") in calls
    assert "rollout status daemonset/" in calls
    if leg["name"] in ("calico-iptables", "calico-ebpf"):
        assert f"linuxDataplane: {'BPF' if leg['name'] == 'calico-ebpf' else 'Iptables'}" in calls
        assert ("kubernetes-services-endpoint" in calls) == (leg["name"] == "calico-ebpf")
    if leg["name"].startswith("cilium"):
        assert f"kubeProxyReplacement={'true' if leg['name'] == 'cilium' else 'false'}" in calls
    if leg["name"] == "kube-router":
        assert f"cloudnativelabs/kube-router:{leg['version']}" in calls
    assert not [file for file in Path(stand_ins["TMPDIR"]).iterdir() if file.name.startswith("tmp.")]


@pytest.mark.parametrize("leg", INSTALLED, ids=lambda leg: str(leg["name"]))
def test_a_setup_that_does_not_come_up_fails(leg: dict[str, Any], stand_ins: dict[str, str]) -> None:
    argv = ("bash", "-euo", "pipefail", "-c", leg["setup"])
    done = subprocess.run(
        argv, cwd=ROOT, env={**stand_ins, "FAIL": "rollout"}, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode != 0


# Reports.


def written(directory: Path, name: str, description: reports.RunDescription, **outcomes: Any) -> Path:
    """Write the report of a run into the artifact of a dataplane and return its file."""
    document = reports.document(small.run_of(**outcomes), small.CATALOGUE, description)
    file = directory / f"dataplane-{name}" / "session-affinity-report.yaml"
    reports.write(document, file)
    return file


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def collected(artifacts: Path, target: Path) -> dict[str, str]:
    return {done.name: str(done.file or done.reason) for done in collect(artifacts, target, plan.dataplanes())}


def test_a_report_goes_to_its_project_and_mode(
    artifacts: Path, tmp_path: Path, description: reports.RunDescription
) -> None:
    written(artifacts, "cilium", description, C24=Outcome.FAILED)
    version = description.implementation.version

    done = collected(artifacts, tmp_path / "reports")

    file = tmp_path / "reports" / "cilium-cilium" / f"{version}-kube-proxy-replacement-report.yaml"
    assert done["cilium"] == str(file)
    assert done["antrea"] == "the run wrote none"
    assert reports.problems(reports.read(file)) == ()
    assert (file.parent / "README.md").read_text().startswith("# cilium\n")


def test_a_report_that_says_the_same_again_changes_nothing(
    artifacts: Path, tmp_path: Path, description: reports.RunDescription
) -> None:
    written(artifacts, "antrea", description)
    first = collected(artifacts, tmp_path / "reports")["antrea"]
    before = Path(first).read_bytes()
    other_night = reports.RunDescription(**{**vars(description), "date": "2027-01-01T04:00:00+00:00"})
    written(artifacts, "antrea", other_night)

    second = collected(artifacts, tmp_path / "reports")["antrea"]

    assert second == "it says what the stored one says"
    assert Path(first).read_bytes() == before


def test_a_report_with_another_result_replaces_the_stored_one(
    artifacts: Path, tmp_path: Path, description: reports.RunDescription
) -> None:
    written(artifacts, "antrea", description)
    first = collected(artifacts, tmp_path / "reports")["antrea"]
    written(artifacts, "antrea", description, C24=Outcome.FAILED)

    assert collected(artifacts, tmp_path / "reports")["antrea"] == first
    assert reports.read(Path(first))["summary"]["failed"] == 1


def test_a_run_that_could_not_judge_leaves_the_stored_report(
    artifacts: Path, tmp_path: Path, description: reports.RunDescription
) -> None:
    written(artifacts, "antrea", description, C24=Outcome.UNDETERMINED)
    (artifacts / "dataplane-cilium").mkdir(parents=True)
    (artifacts / "dataplane-cilium" / "session-affinity-report.yaml").write_text("kind: SessionAffinityReport\n")

    done = collected(artifacts, tmp_path / "reports")

    assert done["antrea"] == "1 claims could not be judged"
    assert "is no valid report" in done["cilium"]
    assert not (tmp_path / "reports").exists()


GH = """\
#!/bin/sh
echo "$@" >> "$GH_LOG"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the files that the script needs; its origin is a bare one beside it."""
    clone = tmp_path / "clone"
    for part in ("ci", "scripts", "reports", "docs", "session_affinity", "suite", "fixtures", "manifests", ".github"):
        shutil.copytree(ROOT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for part in ("pytest.toml", "conftest.py"):
        shutil.copy(ROOT / part, clone / part)
    run = ("git", "-C", str(clone), "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(("git", "init", "--quiet", "--bare", str(tmp_path / "origin")), check=True)
    subprocess.run(("git", "init", "--quiet", str(clone)), check=True)
    subprocess.run((*run, "add", "--all"), check=True)
    subprocess.run((*run, "commit", "--quiet", "--message", "start"), check=True)
    subprocess.run((*run, "remote", "add", "origin", str(tmp_path / "origin")), check=True)
    return clone


def proposed(clone: Path, artifacts: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in a repository; gh only notes what it was asked, in the file gh.log beside it."""
    programs = clone.parent / "programs"
    programs.mkdir()
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "GH_LOG": str(clone.parent / "gh.log"),
        "GITHUB_STEP_SUMMARY": str(clone.parent / "summary.md"),
    }
    script = (clone / "scripts" / "propose-reports.sh", Path(sys.executable).parents[1], artifacts)
    return subprocess.run(script, cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=200)


def test_new_reports_are_proposed_with_the_page_of_implementations(
    artifacts: Path, clone: Path, description: reports.RunDescription
) -> None:
    written(artifacts, "antrea", description)

    done = proposed(clone, artifacts)

    assert done.returncode == 0, done.stderr
    changed = ("git", "-C", clone, "show", "--name-only", "--format=%s", "dataplane-reports")
    lines = subprocess.run(changed, capture_output=True, text=True, check=True).stdout.split("\n")
    assert lines[0] == "Reports of other dataplanes"
    assert "docs/implementations.md" in lines
    assert f"reports/antrea-io-antrea/{description.implementation.version}-proxy-all-report.yaml" in lines
    assert "pr create --head dataplane-reports" in (clone.parent / "gh.log").read_text()
    assert "* cilium: no report, the run wrote none" in (clone.parent / "summary.md").read_text()


def test_without_anything_new_nothing_is_proposed(artifacts: Path, clone: Path) -> None:
    artifacts.mkdir()

    done = proposed(clone, artifacts)

    assert done.returncode == 0, done.stderr
    assert not (clone.parent / "gh.log").exists()
    assert (clone.parent / "summary.md").read_text().count("no report, the run wrote none") == len(NAMES)
