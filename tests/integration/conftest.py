"""Fixtures for the tests that start embedded clusters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from tests.integration import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests below this directory as integration tests, with a longer timeout."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Restore SIGINT when this run was started in the background of a shell.

    The shell ignores SIGINT for background jobs, and child processes inherit that, so tests could not interrupt them.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class CommandLine:
    """The command line of embedded clusters, with its state in a directory of the test."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a child process that uses the same clusters."""
        return {**os.environ, STATE_VARIABLE: str(self.state), "PYTHONUNBUFFERED": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a subcommand in a new session and return its process."""
        return subprocess.Popen(
            (sys.executable, "-m", "session_affinity", "cluster", *arguments),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, code: int | None = 0) -> str:
        """Run a subcommand to its end, check its exit code and return its output."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=240)
        assert code is None or process.returncode == code, f"{arguments}: {process.returncode}\n{output}"
        return output


@pytest.fixture
def state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory for this test only."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def embedded(state_root: Path) -> Iterator[CommandLine]:
    """The command line; clusters that a failed test leaves are taken down."""
    yield CommandLine(state_root)
    for name in {path.stem for path in (state_root / "clusters").glob("*")}:
        clusters.down(name)


@pytest.fixture
def before(state_root: Path) -> traces.Traces:
    """The traces of clusters on the machine before the test."""
    return traces.now(state_root)
