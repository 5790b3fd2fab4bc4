"""Fixtures for the tests of kind clusters: a machine of stand-in programs, and the recorded progress output."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.clusters.kind import readiness
from session_affinity.clusters.kind.engine import PROVIDER_VARIABLE
from session_affinity.clusters.options import ClusterOptions
from session_affinity.progress import Progress
from tests.kind_world import ENGINE, NODE_IMAGE, PROXY_CONFIG, World, make_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine of stand-in programs on which kind clusters start."""
    world = make_world(tmp_path)
    monkeypatch.setenv("PATH", str(world.bin))
    monkeypatch.setenv(STATE_VARIABLE, str(world.here / "state"))
    monkeypatch.delenv(PROVIDER_VARIABLE, raising=False)
    monkeypatch.chdir(world.here)
    monkeypatch.setattr("pytest_kubernetes.providers.base.sleep", lambda _: None)
    monkeypatch.setattr("session_affinity.clusters.kind.preflight.FREE_BYTES", 0)
    monkeypatch.setattr(readiness, "wait", lambda *_, **__: PROXY_CONFIG)
    monkeypatch.setattr(readiness, "kube_proxy_config", lambda _: PROXY_CONFIG)
    monkeypatch.setattr(readiness, "not_ready", lambda *_: "")
    return world


@pytest.fixture
def podman(world: World) -> World:
    """The machine with podman instead of docker."""
    world.remove("docker")
    world.program("podman", ENGINE)
    return world


@pytest.fixture
def options() -> ClusterOptions:
    """The options of a run on kind with a node image that the engine has."""
    return ClusterOptions(cluster="kind", node_image=NODE_IMAGE)


@dataclass(frozen=True)
class ProgressLines:
    """A Progress and the console that records its lines."""

    progress: Progress
    console: Console

    @property
    def text(self) -> str:
        """All lines so far."""
        return self.console.export_text(clear=False)


@pytest.fixture
def progress_lines() -> ProgressLines:
    """A Progress whose output is recorded."""
    console = Console(file=io.StringIO(), record=True, width=500)
    return ProgressLines(Progress(console=console), console)
