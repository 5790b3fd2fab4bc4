"""Commands on a node of an embedded cluster, with a stand-in for nsenter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.node import EmbeddedNode
from session_affinity.clusters.embedded.state import ProcessId
from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EmbeddedNode]:
    """Return a function that makes a node whose commands are all the same script."""

    def make(script: str) -> EmbeddedNode:
        program = tmp_path / "nsenter"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return EmbeddedNode("worker", ProcessId.of(os.getpid()), ())

    return make


def test_a_command_that_does_not_end_in_time_is_killed_and_leaves_no_pipe_open(
    node: Callable[[str], EmbeddedNode], tmp_path: Path
) -> None:
    worker = node(f"echo $$ > {tmp_path}/pid; exec sleep 100")
    before = set(Path("/proc/self/fd").iterdir())

    with pytest.raises(NodeError, match=r"worker: sleep 100 did not end within 1 s") as caught:
        worker.run(("sleep", "100"), timeout=1)

    assert caught.value.__cause__ is not None
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_the_exit_code_and_both_streams_are_kept(node: Callable[[str], EmbeddedNode]) -> None:
    done = node("cat; echo complaint >&2; exit 3").run(("tee",), stdin="said")

    assert (done.returncode, done.stdout, done.stderr) == (3, "said", "complaint\n")
