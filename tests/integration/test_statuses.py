"""A claim is failed only when its promise is broken: trouble of the cluster or the machine is broken, the cause first.

The suite is run as a user would, on a cluster that gets into trouble; what is looked at is what the report reads.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.kube.api import Api
from session_affinity.kube.resources import PODS
from session_affinity.nodes.nodes import until
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "statuses"
CONTROL_PLANE = f"{NAME}-control-plane"
QUICK = "0.5"
"""What deadlines are scaled by, so that waiting in vain is short."""


@dataclass(frozen=True)
class Troubled:
    """A kept cluster, and a directory for the results of runs on it."""

    cluster: clusters.EmbeddedCluster
    results: Path

    @property
    def said(self) -> str:
        """What the latest run said so far."""
        return self.results.with_suffix(".log").read_text()

    def start(self, claims: str, *options: str) -> subprocess.Popen[bytes]:
        """Begin a run of some claims."""
        argv = (
            sys.executable, "-u", "-m", "pytest", "-m", claims, "--cluster", "embedded", "--cluster-name", NAME,
            "--keep-cluster", f"--alluredir={self.results}", "--clean-alluredir", *options,
        )  # fmt: skip
        with self.results.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def signal(self, node: str, name: str, program: str) -> None:
        """Send a signal to a program of a node."""
        self.cluster.nodes[node].run(("pkill", f"-{name}", "-x", program)).check()

    def told(self) -> dict[str, tuple[str, str]]:
        """Return status and message of each claim that the report has."""
        return results_in(self.results)


def results_in(directory: Path) -> dict[str, tuple[str, str]]:
    """Return status and message of each claim in a directory of results."""
    found: dict[str, tuple[str, str]] = {}
    for file in directory.glob("*-result.json"):
        document: dict[str, Any] = json.loads(file.read_text())
        claim = next(one["value"] for one in document["labels"] if one["name"] == "claim")
        found[claim] = (document["status"], (document.get("statusDetails") or {}).get("message", ""))
    return found


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    """A cluster, healthy until a test says otherwise."""
    directory = tmp_path_factory.mktemp("statuses")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        command = (sys.executable, "-m", "session_affinity.clusters.embedded")
        assert subprocess.run((*command, "up", "--name", NAME), cwd=ROOT, check=False).returncode == 0
        found = clusters.find(NAME)
        assert found is not None
        yield Troubled(found, directory / "results")
        clusters.down(NAME)


def test_an_api_server_that_stops_breaks_what_comes_after(troubled: Troubled) -> None:
    """It is stopped when two claims have been judged: the first stands, and what comes after could not be told.

    By then the Service of the third may be there or not, so it is making it or asking it that has no answer.
    """
    run = troubled.start("C02 or C03 or C09", "--deadline-scale", QUICK)
    try:
        judged = until(time.monotonic() + 100, lambda: "passed  C03" in troubled.said or run.poll() is not None)
        troubled.signal(CONTROL_PLANE, "STOP", "kube-apiserver")
        assert judged, troubled.said
        run.wait(timeout=200)
    finally:
        troubled.signal(CONTROL_PLANE, "CONT", "kube-apiserver")
        run.wait()

    told, said = troubled.told(), troubled.said
    assert told["C02"][0] == "passed", said
    assert told["C09"][0] == "broken", said
    first = told["C09"][1].splitlines()[0]
    assert re.search(r"ApiError: \w+ /api/\S+: no answer from the API|ExecError: default/net-pod: ", first), said
    assert "passed  C09" not in said


def test_a_sample_pod_that_cannot_run_breaks_the_run_and_is_named(troubled: Troubled) -> None:
    """Its node's kubelet has stopped, so it stays pending; nothing is judged, and the report has the reason."""
    api = Api(troubled.cluster.kubeconfig)
    warm_up = troubled.start("C02")
    assert warm_up.wait(timeout=120) == 0
    troubled.signal(f"{NAME}-worker", "STOP", "kubelet")
    try:
        # Without the kubelet nothing ends a pod that is asked to go.
        api.delete(PODS, "webpod1", "default", grace_seconds=0)
        run = troubled.start("C02 or C10", "--deadline-scale", QUICK)
        run.wait(timeout=200)
    finally:
        troubled.signal(f"{NAME}-worker", "CONT", "kubelet")

    told, said = troubled.told(), troubled.said
    assert list(told) == ["C02"], said
    assert told["C02"][0] == "broken", said
    assert told["C02"][1].startswith("no sample pods: NotReadyError: pods not Ready after"), said
    assert "webpod1" in told["C02"][1]


def test_a_tool_that_is_missing_breaks_the_run_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine lacks what the cluster needs: no claim is judged, and the report has the reason."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    (tmp_path / "bin").mkdir()
    results = tmp_path / "results"
    argv = (
        sys.executable, "-m", "pytest", "-m", "C02 or C10", "--cluster", "embedded", "--cluster-name", "notools",
        f"--alluredir={results}",
    )  # fmt: skip
    environment = {"PATH": str(tmp_path / "bin"), STATE_VARIABLE: str(tmp_path / "state"), "HOME": str(tmp_path)}
    run = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    told = results_in(results)
    assert list(told) == ["C02"], run.stdout + run.stderr
    assert told["C02"][0] == "broken"
    assert told["C02"][1].startswith("no cluster: PreflightError:"), told
