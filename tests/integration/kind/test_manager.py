"""Tests of KindManager: it avoids the side effects of pytest-kubernetes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import yaml

from session_affinity.clusters.kind.manager import KindManager
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.waiting import poll
from tests.kind_world import is_running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kind_world import World


@pytest.fixture
def config(world: World) -> Path:
    file = world.here / "kind.yaml"
    file.write_text(yaml.safe_dump({"name": "own-name", "nodes": [{"role": "control-plane"}]}))
    return file


@pytest.fixture
def manager(world: World, config: Path) -> KindManager:
    return KindManager(config, world.here / "kubeconfig", kubernetes="1.37.2", environment=dict(os.environ))


def test_the_name_is_taken_from_the_configuration(manager: KindManager) -> None:
    assert manager.cluster_name == "own-name"


def test_create_passes_paths_with_spaces_as_one_argument(world: World, manager: KindManager, config: Path) -> None:
    manager.create_cluster()

    assert world.calls("kind [create]") == [
        f"kind [create] [cluster] [--retain] [--config] [{config}] [--kubeconfig] [{world.here}/kubeconfig]"
    ]


def test_a_second_create_does_not_repeat_flags(world: World, config: Path) -> None:
    for _ in range(2):
        world.node()
        KindManager(
            config, world.here / "kubeconfig", kubernetes="1.37.2", environment=dict(os.environ)
        ).create_cluster()

    first, second = world.calls("kind [create]")
    assert first == second


def test_create_does_not_run_kubectl_inside_a_pod(
    world: World, manager: KindManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin would mistake the surrounding cluster for the new one."""
    world.program("kubectl", '#!/bin/sh\ntouch "{here}/kubectl-ran"\necho readyz check passed\n')
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")

    manager.create_cluster()

    assert world.calls("kind [create]")
    assert not (world.here / "kubectl-ran").exists()


def test_the_version_and_the_timeout_of_the_plugin_are_overridden(manager: KindManager) -> None:
    manager.create_cluster()

    assert manager._cluster_options.api_version == "1.37.2"
    assert manager._cluster_options.cluster_timeout == DEFAULTS.kind_command


def test_the_error_of_a_failed_create_has_kinds_output(world: World, manager: KindManager) -> None:
    world.write("create-fails", "ERROR: failed to create cluster: no space left on device\n")

    with pytest.raises(
        ClusterError, match=r"kind create cluster ended with exit code 1; its output:\n.*\n.*\n.*no space left"
    ):
        manager.create_cluster()


def test_create_is_ended_with_its_children_after_the_timeout(world: World, manager: KindManager) -> None:
    world.write("create-hangs")
    manager._options.cluster_timeout = 0.3

    with pytest.raises(ClusterError, match=r"did not end within 0\.3 s; its output:\n    Creating cluster"):
        manager.create_cluster()

    assert not is_running(int((world.here / "hanging").read_text()))


def test_delete_removes_only_our_kubeconfig(world: World, manager: KindManager) -> None:
    """Without --kubeconfig kind locks and writes the user's kubeconfig."""
    users = world.here / "users"
    users.write_text("mine")

    manager.create_cluster()
    manager.delete_cluster()

    assert world.calls("kind [delete]") == [
        f"kind [delete] [cluster] [--name] [own-name] [--kubeconfig] [{world.here}/kubeconfig]"
    ]
    assert not (world.here / "kubeconfig").exists()
    assert users.read_text() == "mine"


def test_delete_removes_a_cluster_of_an_earlier_run(world: World, manager: KindManager) -> None:
    """The plugin deletes only a cluster that it created itself."""
    world.node("id0|own-name-control-plane|running")

    manager.delete_cluster()

    assert world.nodes == ""


def test_the_environment_is_passed_to_kind_only(world: World, config: Path) -> None:
    environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": "podman"}

    KindManager(config, world.here / "kubeconfig", kubernetes="1.37.2", environment=environment).create_cluster()

    assert (world.here / "provider").read_text().strip() == "podman"
    assert "KIND_EXPERIMENTAL_PROVIDER" not in os.environ


def test_output_is_passed_on_line_by_line(world: World, config: Path) -> None:
    lines: list[str] = []
    world.write("create-hangs")
    manager = KindManager(
        config, world.here / "kubeconfig", kubernetes="1.37.2", environment=dict(os.environ), on_line=lines.append
    )
    manager._options.cluster_timeout = 0.7
    seen_early = threading.Event()

    def check_lines() -> None:
        if poll(lambda: len(lines) == 2, 0.6, pause=0.01):
            seen_early.set()

    checker = threading.Thread(target=check_lines)
    checker.start()
    with pytest.raises(ClusterError):
        manager.create_cluster()
    checker.join()

    assert seen_early.is_set()


def test_a_removed_kind_is_a_cluster_error(world: World, manager: KindManager) -> None:
    world.remove("kind")

    with pytest.raises(ClusterError, match="kind cannot be run"):
        manager.create_cluster()
