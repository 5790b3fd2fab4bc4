"""A kept cluster with the suite's image on its nodes, healthy or with a defect on one node."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci.image import build
from session_affinity import about
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.clusters.embedded.images.load import load
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.progress import quiet
from tests.defects import defective_cluster
from tests.defects.defect import IPTABLES
from tests.defects.inject import written
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.defects.defective_cluster import DefectiveCluster

WRONG_TIMEOUT = written("s/--seconds (30|10800) /--seconds 3600 /")
"""A defect of kube-proxy that C16 notices."""
EVERYTHING = "ns,all,cm,sa,secrets,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the tests below this directory the time of a first build of the image."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 * config.getoption("--deadline-scale")))


@dataclass(frozen=True)
class InCluster:
    """A cluster whose nodes have the suite's image."""

    defective: DefectiveCluster

    @property
    def kubeconfig(self) -> Path:
        return self.defective.cluster.kubeconfig

    @property
    def scale(self) -> str:
        return f"--deadline-scale={self.defective.deadline_scale:g}"

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        argv = (self.defective.cluster.layout.programs["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, input=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command of ``session-affinity``."""
        return subprocess.Popen(
            (sys.executable, "-m", "session_affinity", *arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command of ``session-affinity`` to its end, check its exit code and return its output."""
        process = self.start(*arguments)
        output = process.communicate(timeout=400 * self.defective.deadline_scale)[0]
        assert process.returncode == code, output
        return output

    def traces(self) -> str:
        """Every object that a run could leave."""
        return self.kubectl("get", EVERYTHING, "-A", "-o", "name")


@pytest.fixture(scope="session")
def image() -> Path:
    """The suite's image as an archive, built from this checkout."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("this machine has no apt: the image is made of Debian packages")
    archive = ROOT / "results" / "image" / "image.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    build.build(about.IMAGE, (machine_arch(),), archive, quiet(), compressed=False)
    return archive


@pytest.fixture(scope="package")
def in_cluster(image: Path, tmp_path_factory: pytest.TempPathFactory, deadline_scale: float) -> Iterator[InCluster]:
    """A cluster with the image on its nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        directory = tmp_path_factory.mktemp("cluster")
        started = defective_cluster.start(IPTABLES, directory, deadline_scale=deadline_scale)
        try:
            load(started.cluster, image)
            yield InCluster(started)
        finally:
            clusters.down(started.cluster.name)
