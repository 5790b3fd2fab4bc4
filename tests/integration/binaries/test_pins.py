"""The pinned components: sources of every program on both architectures."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

import pytest

from session_affinity.cli import main
from session_affinity.clusters.embedded.binaries import Cache, _sources, pins
from session_affinity.clusters.embedded.binaries.gomodule import GoModules
from session_affinity.clusters.embedded.binaries.releases import Releases
from session_affinity.errors import BinaryError, UsageError

if TYPE_CHECKING:
    from session_affinity.progress import Progress

pytestmark = pytest.mark.unit

PROGRAMS = {
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "etcd"),
    *("containerd", "ctr", "containerd-shim-runc-v2", "runc", "host-local", "loopback", "ptp", "portmap"),
}


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_every_program_has_a_release_with_a_checksum_and_a_module(arch: str) -> None:
    components = pins.components("1.36.3", arch)

    assert {program.name for component in components for program in component.programs} == PROGRAMS
    for component in components:
        assert sorted(name for download in component.downloads for name, _ in download.programs) == sorted(
            program.name for program in component.programs
        )
        for download in component.downloads:
            assert download.url.startswith("https://")
            assert arch in download.url
            assert component.version in download.url
            assert re.search(r"sha256|SHA256", download.checksum_url)
            assert "{" not in repr(download)


def test_the_kubernetes_component_has_the_requested_version() -> None:
    kubernetes = pins.components("1.36.3", "arm64")[-1]

    assert kubernetes.version == "1.36.3"
    assert kubernetes.module.version == "v1.36.3"
    assert "k8s.io/component-base/version.gitMinor=36" in kubernetes.module.ldflags
    assert kubernetes.downloads[0].url == "https://dl.k8s.io/v1.36.3/bin/linux/arm64/kube-apiserver"
    assert len(kubernetes.downloads) == 6


def test_a_recipe_depends_on_the_version() -> None:
    recipe, other = pins.components("1.36.3", "arm64")[-1].recipe, pins.components("1.37.2", "arm64")[-1].recipe

    assert recipe == pins.components("1.36.3", "arm64")[-1].recipe
    assert recipe != other


def test_an_unsupported_architecture_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    with pytest.raises(BinaryError, match="published for the architecture riscv64"):
        pins.components("1.37.2")


@pytest.mark.parametrize(
    ("value", "kinds"),
    [("", [Releases, GoModules]), ("auto", [Releases, GoModules]), ("release", [Releases]), ("build", [GoModules])],
)
def test_the_environment_chooses_the_sources(cache: Cache, progress: Progress, value: str, kinds: list[type]) -> None:
    assert [type(source) for source in _sources(cache, progress, {"SESSION_AFFINITY_SOURCE": value})] == kinds


def test_an_unknown_source_is_refused(cache: Cache, progress: Progress) -> None:
    with pytest.raises(UsageError, match="SESSION_AFFINITY_SOURCE is 'magic'"):
        _sources(cache, progress, {"SESSION_AFFINITY_SOURCE": "magic"})


def test_the_command_prints_the_error_and_its_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "build", "--tool", "actionlint", "--kubernetes", "1.2"]) == 4
    assert "choose one of 1.33" in capsys.readouterr().err
