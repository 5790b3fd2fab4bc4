"""A cluster without kube-proxy: claims of the Service API are checked, claims about kube-proxy are skipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster

ROOT = Path(__file__).parents[2]
NAME = "foreign"
SUBJECTS = "affinity and (api_fields or distribution or rules or lists or expiry)"
"""The subjects for which the other dataplane is sufficient: cluster IPs over TCP, and endpoints that do not change."""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCluster]:
    """A cluster whose Services are served by another dataplane."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    program = tmp_path / "elsewhere" / "proxy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.integration.foreign_proxy "$@"\n')
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
