"""A long walk finds what no claim of the catalogue looks at: changes that are lost while syncs fail."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.defects.defective_build import BUILD_SECONDS, kube_proxy
from tests.defects.defective_cluster import NAME, ROOT

if TYPE_CHECKING:
    from pathlib import Path

WALK_MINUTES = 10
FULL_SYNC_AFTER_A_FAILURE = "proxier.needFullSync = true\n\t\t} else if doFullSync {"
NO_FULL_SYNC = "} else if doFullSync {"
MODES = ("iptables", "nftables")


@pytest.fixture(scope="session")
def forgetful_kube_proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kube-proxy that forgets what it could not write: the sync after a failed one is no full sync."""
    change = (FULL_SYNC_AFTER_A_FAILURE, NO_FULL_SYNC)
    return kube_proxy(tmp_path_factory.mktemp("build"), {f"pkg/proxy/{mode}/proxier.go": change for mode in MODES})


@pytest.mark.timeout(BUILD_SECONDS + 5 * WALK_MINUTES * 60)
@pytest.mark.parametrize("mode", MODES)
def test_a_walk_finds_changes_that_a_failed_sync_loses(
    forgetful_kube_proxy: Path, mode: str, deadline_scale: float
) -> None:
    """The walk ends at the first difference, and prints at most six steps that cause it."""
    argv = (
        *(sys.executable, "-m", "session_affinity", "walk", "--seed=1", f"--minutes={WALK_MINUTES * deadline_scale:g}"),
        *("--cluster=embedded", f"--cluster-name={NAME}-walk", f"--proxy-mode={mode}"),
        *(f"--kube-proxy={forgetful_kube_proxy}", f"--deadline-scale={deadline_scale:g}"),
    )

    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    steps = re.findall(r"^# \d+\. .*", run.stdout, re.MULTILINE)
    assert run.returncode == 1, run.stdout + run.stderr
    assert 0 < len(steps) <= 6, run.stdout
    assert any("failing" in step for step in steps), run.stdout
