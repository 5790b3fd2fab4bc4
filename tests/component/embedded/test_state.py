"""Whose a cluster is, and how its processes are told from later ones with their numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.state import STATE_VARIABLE, ProcessId, Running, StateDirectory, cluster_names
from session_affinity.errors import ClusterError, PreflightError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    """The state of a cluster that nobody has."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    return StateDirectory("mine")


def test_a_claimed_cluster_is_refused_to_others_until_it_is_let_go(state: StateDirectory) -> None:
    held = state.claim()
    claimed = state.is_claimed()
    with pytest.raises(ClusterError, match="cluster mine is in use"):
        state.claim(seconds=0)
    os.close(held)

    assert claimed
    assert not state.is_claimed()
    os.close(state.claim(seconds=0))


def test_a_claim_lasts_while_a_process_that_inherited_it_lives(state: StateDirectory) -> None:
    held = state.claim()
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE, pass_fds=(held,)) as child:
        os.close(held)
        while_alive = state.is_claimed()
        child.communicate(b"\n")

    assert while_alive
    assert not state.is_claimed()


def test_a_lock_file_that_was_removed_meanwhile_is_not_taken_for_the_lock(state: StateDirectory) -> None:
    held = state.claim()
    state.forget_lock()
    os.close(held)

    os.close(state.claim(seconds=0))
    assert not state.is_claimed()


def test_the_processes_of_a_cluster_survive_their_file(state: StateDirectory) -> None:
    me = ProcessId.of(os.getpid())
    running = Running(me, me, {"mine-worker": me}, 6443)
    state.create(("mine-worker",))

    state.write_running(running)

    assert state.read_running() == running
    assert cluster_names() == ("mine",)


def test_a_number_given_again_is_another_process() -> None:
    me = ProcessId.of(os.getpid())

    assert me.is_alive
    assert not ProcessId(me.pid, me.start + 1).is_alive


def test_an_ended_process_has_no_name() -> None:
    with subprocess.Popen((sys.executable, "-c", "")) as child:
        child.wait()

    with pytest.raises(ClusterError, match="has ended"):
        ProcessId.of(child.pid)


def test_the_state_is_private_and_goes_entirely(state: StateDirectory) -> None:
    state.create(("mine-worker",))
    mode = state.root.stat().st_mode & 0o777
    state.remove()

    assert mode == 0o700
    assert not state.exists()


def test_a_full_disk_is_said_before_anything_is_made(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.clusters.embedded.state.FREE_BYTES", 2**60)

    with pytest.raises(PreflightError, match=rf"cannot be written to {state.root}: No space left on device"):
        state.create(("a",))


def test_a_place_that_cannot_be_written_is_named(state: StateDirectory) -> None:
    state.root.parent.parent.mkdir(parents=True, exist_ok=True)
    state.root.parent.write_text("a file where a directory should be")

    with pytest.raises(PreflightError, match=r"cannot be written to .*mine\.lock: File exists\n  next: make room"):
        state.claim()
