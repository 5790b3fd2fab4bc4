"""Only a violated claim is failed; an error of the cluster or the machine makes a claim broken, with the cause first.

The suite runs as a user runs it, on a cluster that is damaged meanwhile; the tests look at the Allure results.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.kube.api import Api
from session_affinity.kube.resources import PODS
from session_affinity.waiting import poll
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "statuses"
CONTROL_PLANE = f"{NAME}-control-plane"
QUICK = "0.5"
"""The scale of deadlines, so that waiting in vain is short."""


@dataclass(frozen=True)
class DamagedCluster:
    """A kept cluster, and a directory for the results of runs on it."""

    cluster: clusters.EmbeddedCluster
    results: Path

    @property
    def output(self) -> str:
        """The output of the latest run so far."""
        return self.results.with_suffix(".log").read_text()

    def start(self, claims: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a run of some claims."""
        argv = (
            sys.executable, "-u", "-m", "pytest", "-c", ROOT / "pytest.toml", "-m", claims, "--cluster", "embedded",
            "--cluster-name", NAME, "--keep-cluster", f"--alluredir={self.results}", "--clean-alluredir", *options,
        )  # fmt: skip
        with self.results.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def signal(self, node: str, name: str, program: str) -> None:
        """Send a signal to a program of a node."""
        self.cluster.nodes[node].run(("pkill", f"-{name}", "-o", "-x", program)).check()

    def statuses(self) -> dict[str, tuple[str, str]]:
        """Return status and message of each claim in the results."""
        return results_in(self.results)


def results_in(directory: Path) -> dict[str, tuple[str, str]]:
    """Return status and message of each claim in a directory of results."""
    statuses: dict[str, tuple[str, str]] = {}
    for file in directory.glob("*-result.json"):
        document: dict[str, Any] = json.loads(file.read_text())
        claim = next(label["value"] for label in document["labels"] if label["name"] == "claim")
        statuses[claim] = (document["status"], (document.get("statusDetails") or {}).get("message", ""))
    return statuses


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DamagedCluster]:
    """A cluster that tests damage and repair."""
    directory = tmp_path_factory.mktemp("statuses")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        command = (sys.executable, "-m", "session_affinity", "cluster")
        assert subprocess.run((*command, "up", "--name", NAME), cwd=ROOT, check=False).returncode == 0
        cluster = clusters.find(NAME)
        assert cluster is not None
        yield DamagedCluster(cluster, directory / "results")
        clusters.down(NAME)


def test_a_stopped_api_server_breaks_the_claims_that_follow(damaged: DamagedCluster) -> None:
    """It is stopped after two claims: their verdicts remain, and the third could not be tested.

    The Service of the third may have been created by then, so either its creation or a request to it has no answer.
    """
    run = damaged.start("C02 or C03 or C09", "--deadline-scale", QUICK)
    try:
        judged = poll(lambda: "passed  C03" in damaged.output or run.poll() is not None, 100)
        damaged.signal(CONTROL_PLANE, "STOP", "kube-apiserver")
        assert judged, damaged.output
        run.wait(timeout=200)
    finally:
        damaged.signal(CONTROL_PLANE, "CONT", "kube-apiserver")
        run.wait()

    statuses, output = damaged.statuses(), damaged.output
    assert statuses["C02"][0] == "passed", output
    assert statuses["C09"][0] == "broken", output
    first = statuses["C09"][1].splitlines()[0]
    assert re.search(r"ApiError: \w+ /api/\S+: no answer from the API|ExecError: default/net-pod: ", first), output
    assert "passed  C09" not in output


def test_a_sample_pod_that_cannot_run_breaks_the_run_and_is_named(damaged: DamagedCluster) -> None:
    """The kubelet of its node is stopped, so it stays Pending; nothing is judged, and the results have the reason."""
    api = Api(damaged.cluster.kubeconfig)
    warm_up = damaged.start("C02")
    assert warm_up.wait(timeout=120) == 0
    damaged.signal(f"{NAME}-worker", "STOP", "kubelet")
    try:
        # Without the kubelet a pod is deleted only with a grace period of 0.
        api.delete(PODS, "webpod1", "default", grace_seconds=0)
        run = damaged.start("C02 or C10", "--deadline-scale", QUICK)
        run.wait(timeout=200)
    finally:
        damaged.signal(f"{NAME}-worker", "CONT", "kubelet")

    statuses, output = damaged.statuses(), damaged.output
    assert list(statuses) == ["C02"], output
    assert statuses["C02"][0] == "broken", output
    assert statuses["C02"][1].startswith("no sample pods: NotReadyError: timed out after"), output
    assert "webpod1" in statuses["C02"][1]


def test_a_missing_tool_breaks_the_run_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine lacks a tool that the cluster needs: no claim is judged, and the results have the reason."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    (tmp_path / "bin").mkdir()
    results = tmp_path / "results"
    argv = (
        sys.executable, "-m", "pytest", "-c", ROOT / "pytest.toml", "-m", "C02 or C10", "--cluster", "embedded",
        "--cluster-name", "notools", f"--alluredir={results}",
    )  # fmt: skip
    environment = {"PATH": str(tmp_path / "bin"), STATE_VARIABLE: str(tmp_path / "state"), "HOME": str(tmp_path)}
    run = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    statuses = results_in(results)
    assert list(statuses) == ["C02"], run.stdout + run.stderr
    assert statuses["C02"][0] == "broken"
    assert statuses["C02"][1].startswith("no cluster: PreflightError:"), statuses
