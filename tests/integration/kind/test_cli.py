"""Tests of ``session-affinity cluster`` with kept kind clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity import versions
from session_affinity.cli import main
from session_affinity.clusters.kind.provider import open_kind
from tests.kind_world import NETSHOOT, NODE_IMAGE, WHOAMI

if TYPE_CHECKING:
    from session_affinity.clusters.options import ClusterOptions
    from tests.integration.kind.conftest import ProgressLines
    from tests.kind_world import World


@pytest.fixture
def kept(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> World:
    """A machine with a kept cluster."""
    with open_kind(replace(options, keep=True), progress_lines.progress):
        pass
    return world


def test_a_kept_cluster_is_removed(kept: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "down", "--provider", "kind", "--all"]) == 0

    assert "cluster myk8s: removed" in capsys.readouterr().out
    assert kept.nodes == ""
    assert not kept.network


def test_down_without_a_cluster_changes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "down", "--provider", "kind", "--all"]) == 0
    assert main(["cluster", "down", "--provider", "kind"]) == 0

    assert capsys.readouterr().out == "cluster myk8s: there is none that the suite made\n"
    assert not world.calls("kind")


def test_someone_elses_cluster_stays(kept: World, capsys: pytest.CaptureFixture[str]) -> None:
    kept.node("other|myk8s-control-plane|running")

    assert main(["cluster", "down", "--provider", "kind"]) == 1

    assert "is not the one that the suite made" in capsys.readouterr().err
    assert kept.nodes


def test_the_files_and_network_of_a_lost_cluster_are_removed(kept: World) -> None:
    kept.node()

    assert main(["cluster", "down", "--provider", "kind"]) == 0

    assert not kept.network
    assert not (kept.here / "state" / "kind" / "myk8s").exists()


def test_kubeconfig_prints_the_path(kept: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "kubeconfig", "--provider", "kind"]) == 0
    assert capsys.readouterr().out.strip() == str(kept.here / "state" / "kind" / "myk8s" / "kubeconfig")

    assert main(["cluster", "kubeconfig", "--provider", "kind", "--name", "other"]) == 1
    assert "no kind cluster other that the suite keeps (there are: myk8s)" in capsys.readouterr().err


def test_node_image_prints_the_listed_image_or_any_of_a_supported_version(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.image(WHOAMI)
    world.image(NETSHOOT)
    assert main(["cluster", "node-image"]) == 1
    assert "docker has no node image of a supported Kubernetes version" in capsys.readouterr().err

    world.write("images", f"old/node:v1.12.0\nbusybox:latest\n{NODE_IMAGE}\n")
    assert main(["cluster", "node-image"]) == 0
    assert capsys.readouterr().out.strip() == NODE_IMAGE

    world.image(versions.resolve().kind.image)
    assert main(["cluster", "node-image"]) == 0
    assert capsys.readouterr().out.strip() == versions.resolve().kind.image


def test_node_image_requires_the_sample_images(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("images", f"{NODE_IMAGE}\n")
    world.image(WHOAMI)

    assert main(["cluster", "node-image"]) == 1
    assert "docker lacks images of the sample pods: nicolaka/netshoot:v" in capsys.readouterr().err
