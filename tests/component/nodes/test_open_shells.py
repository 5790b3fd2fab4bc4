"""Commands in shells that stay open, with shells of this machine in place of those on a node."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed
from session_affinity.nodes.open_shells import OpenShells, with_open_shells
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Sequence

PID = ("sh", "-c", "echo $PPID")
"""Prints the process id of the shell that the command runs in."""


class Machine:
    """This machine as a node; ``shell`` starts a shell on it. Commands that it runs itself print ``itself``."""

    name = "worker"

    def __init__(self, *shell: str) -> None:
        self.shell = shell or ("sh",)
        self.started = 0

    def shell_argv(self) -> Sequence[str]:
        self.started += 1
        return self.shell

    def limited(self, argv: Sequence[str], *, timeout: float) -> Sequence[str]:
        return ("env", f"LIMIT={timeout:g}", *argv)

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        del timeout
        return Completed(self.name, tuple(argv), 0, f"itself {stdin or ''}", "")


def test_the_exit_code_and_both_streams_are_kept() -> None:
    done = OpenShells(Machine()).run(("sh", "-c", "echo said; printf complaint >&2; exit 3"))

    assert done == Completed("worker", done.argv, 3, "said\n", "complaint")
    assert done.argv[:2] == ("sh", "-c")


def test_a_command_is_limited_as_the_node_says() -> None:
    assert OpenShells(Machine()).run(("sh", "-c", "echo $LIMIT"), timeout=7).stdout == "7\n"


def test_commands_have_one_shell_after_another_and_many_lines() -> None:
    node = OpenShells(Machine())

    shells = {node.run(PID).stdout for _ in range(3)}
    lines = node.run(("seq", "200000")).stdout.splitlines()

    assert len(shells) == 1
    assert len(lines) == 200000


def test_a_command_that_reads_finds_nothing_to_read() -> None:
    """Not the next command of the shell."""
    node = OpenShells(Machine())

    assert [node.run(("cat",)).stdout, node.run(("echo", "next")).stdout] == ["", "next\n"]


def test_commands_at_the_same_time_have_a_shell_each(tmp_path: Path) -> None:
    node, meeting = OpenShells(Machine()), tmp_path / "meeting"
    os.mkfifo(meeting)
    with ThreadPoolExecutor(2) as pool:
        reads = pool.submit(node.run, ("cat", str(meeting)), timeout=10)
        writes = pool.submit(node.run, ("sh", "-c", f"echo met >{meeting}"), timeout=10)

    assert (reads.result().stdout, writes.result().returncode) == ("met\n", 0)


def test_a_command_waits_for_a_shell_that_is_free_before_another_would_be_open(tmp_path: Path) -> None:
    machine, busy = Machine("sh", "-c", "sleep 1; exec sh"), tmp_path / "busy"
    node = OpenShells(machine)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(node.run, ("sh", "-c", f"touch {busy}; sleep 0.1; echo $PPID"))
        assert poll(busy.exists, 10)
        second = node.run(PID)

    assert second.stdout == first.result().stdout
    assert machine.started == 1


def test_a_command_with_input_runs_on_the_node_itself() -> None:
    machine = Machine()

    assert OpenShells(machine).run(("cat",), stdin="given").stdout == "itself given"
    assert machine.started == 0


@pytest.mark.parametrize("shell", [("/no/such/engine",), ("false",)])
def test_where_no_shell_can_be_opened_the_node_says_what_is_wrong(shell: tuple[str, ...]) -> None:
    assert OpenShells(Machine(*shell)).run(("true",)).stdout == "itself "


def test_a_command_that_does_not_end_in_time_is_killed_with_its_shell(tmp_path: Path) -> None:
    node, pid = OpenShells(Machine()), tmp_path / "pid"
    before = set(Path("/proc/self/fd").iterdir())

    with pytest.raises(NodeError, match=r"worker: sh -c echo .* did not end within 0\.5 s"):
        node.run(("sh", "-c", f"echo $$ >{pid}; exec sleep 100"), timeout=0.5)

    assert set(Path("/proc/self/fd").iterdir()) == before
    assert poll(lambda: not Path("/proc", pid.read_text().strip()).exists(), 5, pause=0.05)
    assert node.run(("echo", "again")).stdout == "again\n"


def test_a_shell_that_ended_meanwhile_is_replaced() -> None:
    node = OpenShells(Machine())
    first = int(node.run(PID).stdout)
    os.kill(first, 9)

    assert poll(lambda: not Path(f"/proc/{first}/fd").exists() or _is_gone(first), 5, pause=0.05)
    assert int(node.run(PID).stdout) != first


def _is_gone(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_shell_that_ends_during_a_command_is_an_error() -> None:
    node = OpenShells(Machine())

    with pytest.raises(NodeError, match=r"worker: the node ended while it ran sh -c kill"):
        node.run(("sh", "-c", "kill -9 $PPID"))


def test_shells_end_with_their_node() -> None:
    node = OpenShells(Machine())
    shell = int(node.run(PID).stdout)

    del node
    gc.collect()

    assert not Path(f"/proc/{shell}").exists()
    assert not [thread for thread in threading.enumerate() if "shell" in thread.name]


def test_other_nodes_stay_as_they_are() -> None:
    class Other:
        name = "worker"

        def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
            del timeout, stdin
            return Completed(self.name, tuple(argv), 0, "", "")

    other = Other()

    assert with_open_shells(other) is other
    assert isinstance(with_open_shells(Machine()), OpenShells)
