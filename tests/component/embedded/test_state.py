"""The lock of a cluster, and the identity of its processes when PIDs are reused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.state import (
    STATE_VARIABLE,
    ClusterProcesses,
    ProcessId,
    StateDirectory,
    cluster_names,
)
from session_affinity.errors import ClusterError, PreflightError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    """The state directory of a cluster that does not exist."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    return StateDirectory("mine")


def test_a_locked_cluster_is_refused_until_the_lock_is_released(state: StateDirectory) -> None:
    descriptor = state.lock()
    is_locked = state.is_locked()
    with pytest.raises(ClusterError, match="cluster mine is running, or another process is starting or removing it"):
        state.lock(seconds=0)
    os.close(descriptor)

    assert is_locked
    assert not state.is_locked()
    os.close(state.lock(seconds=0))


def test_a_lock_lasts_while_a_process_that_inherited_it_runs(state: StateDirectory) -> None:
    descriptor = state.lock()
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE, pass_fds=(descriptor,)) as child:
        os.close(descriptor)
        while_running = state.is_locked()
        child.communicate(b"\n")

    assert while_running
    assert not state.is_locked()


def test_a_cluster_can_be_locked_again_after_its_lock_file_was_removed(state: StateDirectory) -> None:
    descriptor = state.lock()
    state.remove_lock_file()
    os.close(descriptor)

    os.close(state.lock(seconds=0))
    assert not state.is_locked()


def test_the_processes_of_a_cluster_are_read_as_they_were_written(state: StateDirectory) -> None:
    this_process = ProcessId.of(os.getpid())
    processes = ClusterProcesses(this_process, this_process, {"mine-worker": this_process}, 6443)
    state.create(("mine-worker",))

    state.write_cluster_processes(processes)

    assert state.read_cluster_processes() == processes
    assert cluster_names() == ("mine",)


def test_a_process_with_a_reused_pid_is_another_process() -> None:
    this_process = ProcessId.of(os.getpid())

    assert this_process.is_alive
    assert not ProcessId(this_process.pid, this_process.start + 1).is_alive


def test_an_ended_process_has_no_identity() -> None:
    with subprocess.Popen((sys.executable, "-c", "")) as child:
        child.wait()

    with pytest.raises(ClusterError, match="has ended"):
        ProcessId.of(child.pid)


def test_the_state_is_readable_only_by_its_owner_and_removed_completely(state: StateDirectory) -> None:
    state.create(("mine-worker",))
    mode = state.root.stat().st_mode & 0o777
    state.remove()

    assert mode == 0o700
    assert not state.exists()


def test_a_full_disk_is_reported_before_the_cluster_starts(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_affinity.clusters.embedded.state.FREE_BYTES", 2**60)

    with pytest.raises(
        PreflightError, match=rf"cannot write the state of the cluster to {state.root}: No space left on device"
    ):
        state.create(("a",))


def test_a_state_directory_that_cannot_be_written_is_named(state: StateDirectory) -> None:
    state.root.parent.parent.mkdir(parents=True, exist_ok=True)
    state.root.parent.write_text("a file where a directory should be")

    with pytest.raises(PreflightError, match=r"cannot write .* to .*mine\.lock: File exists\n  next: free some space"):
        state.lock()
