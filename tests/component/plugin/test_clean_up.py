"""An interrupt during a run's clean-up ends the run, and not its clean-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import pathlib
import time

import pytest


@pytest.fixture(scope="session")
def namespace():
    yield
    pathlib.Path("namespace-removed").touch()


@pytest.fixture({scope})
def services(namespace):
    yield
    print("removing", flush=True)
    time.sleep(1)
    pathlib.Path("services-removed").touch()


def test_first(services):
    pass


def test_second(namespace):
    print("second", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scope", ["", 'scope="session"'])
def test_an_interrupt_waits_for_the_clean_up(tmp_path: Path, number: signal.Signals, scope: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_suite.py").write_text(SUITE.format(scope=scope))
    argv = (sys.executable, "-m", "pytest", "-s", "-p", "session_affinity.plugin.clean_up", "-p", "no:cacheprovider")
    process = subprocess.Popen(
        argv,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "removing" in line:
            process.send_signal(number)
            break

    said += process.communicate(timeout=30)[0].splitlines()

    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert {file.name for file in tmp_path.glob("*-removed")} == {"namespace-removed", "services-removed"}
    assert ("second" in "".join(said)) is bool(scope)
