"""Fixtures of the tests of kind: a machine of stand-ins, and what is said on it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.clusters.kind import ready
from session_affinity.clusters.kind.engine import PROVIDER_VARIABLE
from session_affinity.clusters.options import ClusterOptions
from session_affinity.progress import Progress
from tests.kind_world import ENGINE, NODE_IMAGE, PROXY_CONFIG, World, make_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which the kind path works."""
    made = make_world(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv(STATE_VARIABLE, str(made.here / "state"))
    monkeypatch.delenv(PROVIDER_VARIABLE, raising=False)
    monkeypatch.chdir(made.here)
    monkeypatch.setattr("pytest_kubernetes.providers.base.sleep", lambda _: None)
    monkeypatch.setattr("session_affinity.clusters.kind.preflight.FREE_BYTES", 0)
    monkeypatch.setattr(ready, "wait", lambda *_, **__: PROXY_CONFIG)
    monkeypatch.setattr(ready, "kube_proxy_config", lambda _: PROXY_CONFIG)
    monkeypatch.setattr(ready, "not_ready", lambda *_: "")
    return made


@pytest.fixture
def podman(world: World) -> World:
    """The same machine with podman instead of docker."""
    world.remove("docker")
    world.program("podman", ENGINE)
    return world


@pytest.fixture
def options() -> ClusterOptions:
    """A run on kind with an image that the engine has."""
    return ClusterOptions(cluster="kind", node_image=NODE_IMAGE)


@dataclass(frozen=True)
class ProgressLines:
    """A progress, and what it said."""

    progress: Progress
    console: Console

    @property
    def text(self) -> str:
        """All that was said."""
        return self.console.export_text(clear=False)


@pytest.fixture
def told() -> ProgressLines:
    """A progress that records what is said."""
    console = Console(file=io.StringIO(), record=True, width=500)
    return ProgressLines(Progress(console=console), console)
