"""The plugin in Sonobuoy itself, built from its Go module: what it starts, sees, keeps and gives back."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity import bundle, versions
from session_affinity.clusters.embedded import binaries
from session_affinity.clusters.embedded.binaries import pins
from session_affinity.clusters.embedded.images import oci
from session_affinity.clusters.embedded.images.load import load
from session_affinity.errors import BinaryError
from session_affinity.progress import quiet
from tests.defects.defect import Place
from tests.integration.in_cluster.conftest import WRONG_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.in_cluster.conftest import InCluster

pytestmark = pytest.mark.long

PLUGIN = bundle.MANIFESTS / "sonobuoy-plugin.yaml"
NAME = "session-affinity"


@dataclass(frozen=True)
class Sonobuoy:
    """Sonobuoy on a cluster whose nodes have its image."""

    program: Path
    image: str
    cluster: InCluster
    directory: Path

    def __call__(self, *arguments: str, seconds: float = 60) -> str:
        argv = (str(self.program), *arguments)
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}
        done = subprocess.run(
            argv, env=environment, cwd=self.directory, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *claims: str) -> Path:
        """Run the plugin to its end and return the archive with its results."""
        options = f"--image-tags {self.cluster.scale} {' '.join(claims)}"
        self(
            *("run", "--plugin", str(PLUGIN), "--wait", "--skip-preflight=true"),
            *("--sonobuoy-image", self.image, "--image-pull-policy", "IfNotPresent"),
            *("--plugin-env", f"{NAME}.SESSION_AFFINITY_OPTIONS={options}"),
            seconds=400 * self.cluster.defective.deadline_scale,
        )
        return self.directory / self("retrieve").strip()

    def items(self, archive: Path) -> dict[str, dict[str, Any]]:
        """Return the claims in the results as Sonobuoy prints them, by id."""
        lines = self("results", str(archive), "--plugin", NAME, "--mode", "detailed").splitlines()
        items = [json.loads(line) for line in lines if line.startswith("{")]
        return {item["meta"]["claim"]: item for item in items if "claim" in (item.get("meta") or {})}

    def status(self) -> dict[str, Any]:
        (plugin,) = json.loads(self("status", "--json"))["plugins"]
        return dict(plugin)


@pytest.fixture(scope="module")
def program() -> Path:
    """Sonobuoy, as its project released it or built from its Go module."""
    pinned = pins.tool("sonobuoy")
    try:
        return binaries.ensure(versions.resolve().release, quiet(), components=(pinned,))["sonobuoy"]
    except BinaryError as error:
        pytest.skip(f"Sonobuoy can be neither downloaded nor built here: {error.what}")


@pytest.fixture
def sonobuoy(program: Path, in_cluster: InCluster, tmp_path: Path) -> Iterator[Sonobuoy]:
    """Sonobuoy with its image on the nodes; what it made is removed."""
    image = f"docker.io/sonobuoy/sonobuoy:v{pins.tool('sonobuoy').version}"
    entries = (oci.File("/sonobuoy", program.read_bytes()), oci.Directory("/tmp", 0o1777))
    spec = oci.ImageSpec(image, "sonobuoy/sonobuoy", "Sonobuoy for this test", entries, entrypoint=("/sonobuoy",))
    with (tmp_path / "sonobuoy.tar").open("wb") as file:
        oci.write_archive([oci.build(spec, pins.machine_arch())], file)
    load(in_cluster.defective.cluster, tmp_path / "sonobuoy.tar")
    started = Sonobuoy(program, image, in_cluster, tmp_path)
    yield started
    started("delete", "--wait", seconds=180)


def test_a_healthy_cluster_passes_and_the_archive_has_everything(sonobuoy: Sonobuoy) -> None:
    archive = sonobuoy.run("C10", "C16")

    items, status = sonobuoy.items(archive), sonobuoy.status()
    assert (items["C10"]["status"], items["C16"]["status"], items["C24"]["status"]) == ("passed", "passed", "skipped")
    assert (status["status"], status["result-status"]) == ("complete", "passed")
    assert (status["progress"]["completed"], status["progress"]["total"]) == (2, 2)
    with tarfile.open(archive) as results:
        names = [name.partition(f"plugins/{NAME}/results/global/")[2] for name in results.getnames()]
    assert {"report.yaml", "junit.xml", "verdict", "log", "sonobuoy_results.yaml"} <= set(names)
    assert [name for name in names if name.startswith("allure-results/")]


def test_a_defect_on_one_node_fails_with_its_name(sonobuoy: Sonobuoy) -> None:
    with WRONG_TIMEOUT(sonobuoy.cluster.defective):
        archive = sonobuoy.run("C10", "C16")

    items, status = sonobuoy.items(archive), sonobuoy.status()
    assert (items["C10"]["status"], items["C16"]["status"]) == ("passed", "failed")
    assert sonobuoy.cluster.defective.node(Place.SICK) in items["C16"]["details"]["message"]
    assert (status["status"], status["result-status"]) == ("complete", "failed")
    assert status["progress"]["failures"] == ["C16"]
    with tarfile.open(archive) as results:
        (name,) = (name for name in results.getnames() if name.endswith("/report.yaml"))
        file = results.extractfile(name)
        assert file is not None
        document = yaml.safe_load(file.read())
    assert document["access"]["location"] == "in-cluster"


def test_what_could_not_be_tested_is_counted_as_that(sonobuoy: Sonobuoy) -> None:
    archive = sonobuoy.run("--agent-image=registry.invalid/agent:1", "C16")

    assert sonobuoy.items(archive)["C16"]["status"] == "undetermined"
    assert "undetermined: 1" in sonobuoy.status()["result-status"]
