"""A cluster without kube-proxy: claims of the Service API are checked, claims about kube-proxy are skipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.conformance import report as reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster

ROOT = Path(__file__).parents[2]
NAME = "foreign"
SUBJECTS = "affinity and (api_fields or distribution or rules or lists or expiry)"
"""The subjects for which the other dataplane is sufficient: cluster IPs over TCP, and endpoints that do not change."""


@pytest.fixture
def foreign(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedCluster]:
    """A cluster whose Services are served by another dataplane, with further options of that."""
    options = getattr(request, "param", "")
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    program = tmp_path / "elsewhere" / "proxy"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.integration.foreign_proxy {options} "$@"\n'
    )
    program.chmod(0o755)
    command = (
        sys.executable,
        "-m",
        "session_affinity",
        "cluster",
        "up",
        "--name",
        NAME,
        "--kube-proxy",
        str(program),
    )
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    cluster = clusters.find(NAME)
    assert cluster is not None
    yield cluster
    clusters.down(NAME)


def run_pytest(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite with these options."""
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def test_without_kube_proxy_claims_of_the_api_pass_and_claims_about_rules_are_skipped(foreign: EmbeddedCluster) -> None:
    """Every claim of the API passes on a dataplane that keeps its promises; skipped claims have the reason."""
    api_claims = run_pytest("--claims", "--claims-format=json", "-m", "(api_fields or distribution or expiry) and api")
    run = run_pytest(
        *("-m", SUBJECTS, "--cluster=external", "--node-access=agent", "-rs"),
        *(f"--kubeconfig={foreign.kubeconfig}", "--image-tags"),
    )
    outcomes = {line[2]: line[1] for line in re.finditer(r"^(\w+) +(C\d+\w*)  ", run.stdout, re.MULTILINE)}

    assert run.returncode == 0, run.stdout
    assert "kube-proxy: none (no kube-proxy answers at 127.0.0.1:10249, and 4 nodes have no rules" in run.stderr
    assert {outcomes[claim["id"]] for claim in json.loads(api_claims.stdout)} == {"passed"}
    assert {outcomes[claim] for claim in ("C05", "C14", "C16", "C21", "C52")} == {"skipped"}
    assert "the cluster has no kube-proxy" in run.stdout


@pytest.mark.parametrize("foreign", ["--from-first-connection"], indirect=True)
def test_a_dataplane_that_differs_fails_nothing(foreign: EmbeddedCluster, tmp_path: Path) -> None:
    """It counts the timeout from the first connection: no promise of the API, so nothing fails, and all outputs say so.

    Nodes are not read, so that it is not known what serves Services; what clients outside see is judged from nowhere.
    """
    files = {"report": tmp_path / "report.yaml", "junit": tmp_path / "junit.xml"}
    run = run_pytest(
        *(
            "-m",
            "C10 or C24 or C24b or C32",
            "--cluster=external",
            f"--kubeconfig={foreign.kubeconfig}",
            "--image-tags",
        ),
        *(f"--report={files['report']}", f"--junitxml={files['junit']}"),
    )
    document = reports.read(files["report"])
    results = {claim["id"]: claim for claim in document["claims"] if claim.get("reason") != "deselected"}

    assert run.returncode == 0, run.stdout
    assert {name: claim["result"] for name, claim in results.items()} == {
        "C10": "passed",
        "C24": "passed",
        "C24b": "differs",
        "C32": "skipped",
    }, run.stdout
    assert "it is not known that kube-proxy serves Services here" in results["C24b"]["message"]
    assert "--outside-client" in results["C32"]["message"]
    assert re.search(r"^differs C24b  Every new connection renews the timeout: ", run.stdout, re.MULTILINE)
    assert [
        case.get("name") for case in ET.parse(files["junit"]).iter("testcase") if case.find("failure") is not None
    ] == []
    assert reports.problems(document) == ()
