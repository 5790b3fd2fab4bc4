"""Tests of kind clusters and signals on a machine of stand-in programs, and of a real cluster where kind can run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.cli import kind_clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.clusters.kind import preflight
from session_affinity.clusters.kind.engine import PROVIDER_VARIABLE, Engine, detect
from session_affinity.errors import SuiteError
from session_affinity.waiting import wait_until
from tests.kind_world import MYK8S, NODE_IMAGE, World, is_running, make_world

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
NAME = "kind-test"

_RUN = """
import sys, time
from session_affinity.clusters.options import ClusterOptions
from session_affinity.clusters.kind import readiness
from session_affinity.clusters.kind.provider import open_kind
from session_affinity.progress import Progress
from session_affinity.dataplane.proxy_config import ProxyConfig
config = ProxyConfig("iptables", "10.10.0.0/16")
readiness.wait = lambda *_, **__: config
readiness.not_ready = lambda *_: ""
readiness.kube_proxy_config = lambda _: config
opened = open_kind(ClusterOptions(cluster="kind", node_image={image!r}), Progress())
if sys.argv[1] == "nan":
    opened.__enter__()
    sys.exit()
with opened as cluster:
    print("up", *cluster.nodes, flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A machine of stand-in programs."""
    return make_world(tmp_path)


@pytest.fixture
def run(world: World) -> Callable[..., subprocess.Popen[str]]:
    """Returns a function that starts a run of ``seconds`` seconds in another process; nan never closes the cluster."""
    script = world.here / "run.py"
    script.write_text(_RUN.format(image=NODE_IMAGE), encoding="utf-8")
    environment = {**os.environ, "PATH": str(world.bin), "PYTHONPATH": str(ROOT)}
    environment[STATE_VARIABLE] = str(world.here / "state")
    environment.pop(PROVIDER_VARIABLE, None)

    def start(seconds: float = 60) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, str(script), str(seconds)),
            cwd=world.here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def wait_for(condition: Callable[[], bool]) -> None:
    wait_until(condition, 20, what="the run to reach the state for the signal", pause=0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_kind_creates_leaves_nothing(
    world: World, run: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    world.write("create-hangs")
    process = run()
    wait_for((world.here / "hanging").exists)

    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)

    assert "KeyboardInterrupt" in stderr
    assert world.nodes == ""
    assert not world.network
    assert not is_running(int((world.here / "hanging").read_text()))
    assert not (world.here / "results").exists()
    assert list((world.here / "state" / "kind").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_later_leaves_nothing(
    world: World, run: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = run()
    assert process.stdout is not None
    assert process.stdout.readline().startswith("up")

    process.send_signal(number)
    process.communicate(timeout=20)

    assert world.nodes == ""
    assert list((world.here / "state" / "kind").iterdir()) == []


def test_an_interrupt_does_not_stop_the_removal(world: World, run: Callable[..., subprocess.Popen[str]]) -> None:
    world.write("delete-takes", "1")
    process = run(0)
    wait_for((world.here / "deleting").exists)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "the cluster is being removed; this takes a few more seconds" in stderr
    assert world.nodes == ""


def test_a_run_without_teardown_leaves_nothing(world: World, run: Callable[..., subprocess.Popen[str]]) -> None:
    """pytest skips the rest of its teardown when it is interrupted during teardown."""
    process = run(float("nan"))
    process.communicate(timeout=20)

    assert len(world.calls("kind [create]")) == 1
    assert world.nodes == ""
    assert not world.network


def test_the_next_run_adopts_and_removes_the_cluster_of_a_killed_run(
    world: World, run: Callable[..., subprocess.Popen[str]]
) -> None:
    killed = run()
    assert killed.stdout is not None
    assert killed.stdout.readline().startswith("up")
    killed.kill()
    killed.communicate(timeout=20)
    assert world.nodes.count("running") == 4

    stdout, stderr = run(0).communicate(timeout=20)

    assert stdout.split() == ["up", *MYK8S]
    assert "found running, left by a run that was killed" in stderr
    assert len(world.calls("kind [create]")) == 1
    assert world.nodes == ""
    assert not world.network


def test_a_killed_start_ends_kind_and_the_next_run_replaces_the_cluster(
    world: World, run: Callable[..., subprocess.Popen[str]]
) -> None:
    (world.bin / "setpriv").symlink_to(shutil.which("setpriv") or "/usr/bin/setpriv")
    world.write("create-hangs")
    killed = run()
    wait_for((world.here / "hanging").exists)
    killed.kill()
    killed.communicate(timeout=20)
    wait_for(lambda: not is_running(int((world.here / "pid").read_text())))
    os.kill(int((world.here / "hanging").read_text()), signal.SIGKILL)
    (world.here / "create-hangs").unlink()

    stdout, stderr = run(0).communicate(timeout=20)

    assert stdout.split() == ["up", *MYK8S]
    assert "left by a run that was killed, replaced: its start was interrupted" in stderr
    assert world.nodes == ""


def usable_image() -> str:
    """Return a node image of this machine's engine; skip with the reason where kind cannot run."""
    try:
        preflight.require_kind()
        return preflight.local_image(detect())
    except SuiteError as error:
        pytest.skip(f"no kind cluster on this machine: {error.what}")


def remains(engine: Engine) -> dict[str, object]:
    """Return what a kind cluster may leave: its containers and network, volumes, the user's kubeconfig."""
    argv = (engine.program, "volume", "ls", "-q")
    volumes = subprocess.run(argv, capture_output=True, text=True, check=True)
    users = Path.home() / ".kube" / "config"
    return {
        "containers": engine.containers(NAME),
        "network": engine.has_network(),
        "kubeconfig": users.read_bytes() if users.exists() else None,
        "volumes": volumes.stdout.split(),
    }


def test_a_real_cluster_is_kept_adopted_and_removed(state_root: Path) -> None:
    """A claim about answers and a claim about rules hold in both runs; the second run adopts the kept cluster."""
    image = usable_image()
    engine = detect()
    before = remains(engine)
    argv = (sys.executable, "-m", "pytest", "suite", "-m", "C10 or C14", "--cluster=kind", f"--cluster-name={NAME}")
    try:
        runs = [
            subprocess.run((*argv, *more), cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
            for more in (("--keep-cluster", f"--node-image={image}"), ())
        ]
        mode = (state_root / "kind" / NAME / "kubeconfig").stat().st_mode & 0o777
    finally:
        kind_clusters.down([NAME])

    assert [completed.returncode for completed in runs] == [0, 0], runs
    assert "found running, kept" in runs[1].stdout + runs[1].stderr
    assert mode == 0o600
    assert remains(engine) == before
