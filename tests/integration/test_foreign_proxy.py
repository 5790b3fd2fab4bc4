"""A cluster without kube-proxy: what the API promises is judged, rules of kube-proxy are not, and the run says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import api, distribution, expiry
from session_affinity.claims.claim import API
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster

ROOT = Path(__file__).parents[2]
NAME = "foreign"
SERVED = "affinity and (fields or distribution or rules or lists or expiry)"
"""What the stand-in dataplane serves: cluster IPs over TCP, endpoints that stay."""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCluster]:
    """A cluster whose Services are served by something else."""
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
    found = clusters.find(NAME)
    assert found is not None
    yield found
    clusters.down(NAME)


def test_behaviour_is_judged_and_rules_are_not_where_kube_proxy_is_not(foreign: EmbeddedCluster) -> None:
    """Every claim of the API passes on a dataplane that keeps them; claims about kube-proxy's rules name the reason."""
    argv = (sys.executable, "-m", "pytest", "-m", SERVED, "--cluster=external", "--node-access=agent", "-rs")
    more = (f"--kubeconfig={foreign.kubeconfig}", "--image-tags", "-p", "no:cacheprovider")
    done = subprocess.run((*argv, *more), cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    outcomes = {found[2]: found[1] for found in re.finditer(r"^(\w+) +(C\d+\w*)  ", done.stdout, re.MULTILINE)}

    assert done.returncode == 0, done.stdout
    assert "kube-proxy: none (no kube-proxy answers at 127.0.0.1:10249, and 4 nodes have no rules" in done.stderr
    promised = [one for subject in (api, distribution, expiry) for one in subject.CLAIMS if one.promised_by is API]
    assert {outcomes[one.id] for one in promised} == {"passed"}
    assert {outcomes[claim] for claim in ("C05", "C14", "C16", "C21", "C52")} == {"skipped"}
    assert "the cluster has no kube-proxy" in done.stdout
