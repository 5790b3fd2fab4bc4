"""Tests of commands on a kind node: exit codes are results, failures of the engine are errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.kind.node import KindNode
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from tests.kind_world import World

NODE = KindNode("myk8s-worker", "docker")


def test_a_command_runs_without_a_terminal(world: World) -> None:
    world.write("exec-out", "some text\n")

    done = NODE.run(["cat", "/a file"], timeout=5)

    assert (done.returncode, done.stdout, done.node) == (0, "some text\n", "myk8s-worker")
    assert world.calls("docker") == ["docker [exec] [myk8s-worker] [timeout] [-s] [KILL] [6] [cat] [/a file]"]


def test_stdin_reaches_the_command(world: World) -> None:
    assert NODE.run(["tee"], stdin="into it").stdout == "into it"
    assert "[exec] [-i]" in world.calls("docker")[0]


@pytest.mark.parametrize("code", [1, 2, 125, 126, 127])
def test_an_exit_code_is_not_an_error(world: World, code: int) -> None:
    world.write("exec-code", str(code))
    world.write("exec-err", "iptables: No chain/target/match by that name.\n")

    assert NODE.run(["iptables", "-S", "X"]).returncode == code


@pytest.mark.parametrize(
    ("code", "file", "output"),
    [
        ("126", "exec-out", 'OCI runtime exec failed: exec failed: unable to start container process: "timeout"'),
        ("126", "exec-err", "OCI runtime exec failed: exec failed"),
        ("1", "exec-err", "Error response from daemon: No such container: myk8s-worker"),
        ("1", "exec-err", "Error response from daemon: container 12ab is not running"),
        ("1", "exec-err", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."),
    ],
)
def test_a_failure_of_the_engine_is_an_error(world: World, code: str, file: str, output: str) -> None:
    world.write("exec-code", code)
    world.write(file, output)

    with pytest.raises(NodeError, match="myk8s-worker: true could not be run: "):
        NODE.run(["true"])


def test_podman_fails_with_its_own_exit_code(podman: World) -> None:
    podman.write("exec-code", "125")
    podman.write("exec-err", 'Error: no container with name or ID "myk8s-worker" found')

    with pytest.raises(NodeError, match="no container with name"):
        KindNode("myk8s-worker", "podman").run(["true"])


def test_a_command_beyond_its_timeout_is_an_error(world: World) -> None:
    world.write("exec-hangs")

    with pytest.raises(NodeError, match=r"myk8s-worker: sleep 100 did not end within 0\.3 s"):
        NODE.run(["sleep", "100"], timeout=0.3)


def test_a_removed_engine_is_an_error(world: World) -> None:
    world.remove("docker")

    with pytest.raises(NodeError, match="docker cannot be run"):
        NODE.run(["true"])
