"""Running legs one after another on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ci.matrix.expected import pytest_command
from session_affinity.clusters.embedded.binaries import Cache, pins, store
from session_affinity.clusters.interrupts import ending_orderly
from session_affinity.deadlines import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ci.matrix.legs import Leg
    from session_affinity.versions import KubernetesVersions

CLUSTER_NAME: Final = "matrix"
RESULTS: Final = "allure-results"
ENDED: Final = {0: "all passed", 1: "not all passed", 2: "interrupted", 3: "no cluster", 4: "unusable options"}
"""What the exit codes of pytest mean here."""


@dataclass(frozen=True)
class LegRun:
    """How the run of a leg ended: pytest's exit code, and how long it took in seconds."""

    leg: Leg
    code: int
    seconds: float

    @property
    def told(self) -> str:
        """It in a line."""
        return f"{self.leg.name}: {ENDED.get(self.code, f'pytest ended with {self.code}')} in {self.seconds:.0f} s"


def available(known: KubernetesVersions) -> tuple[str, ...]:
    """Return the minors whose programs are in this user's cache, so that an embedded cluster starts at once."""
    cache = Cache.of_user()
    return tuple(
        version.minor
        for version in known.versions
        if all(store.find(cache, component) for component in pins.components(version.release))
    )


def run_all(legs: Sequence[Leg], arguments: Sequence[str], root: Path, say: Callable[[str], None]) -> Iterator[LegRun]:
    """Check one leg after another, each in a process of its own, with results below a directory of its id.

    A leg that fails, or whose cluster does not start, keeps no other from running. KeyboardInterrupt ends the leg that
    runs, whose cluster is then removed, and the rest.
    """
    for number, leg in enumerate(legs, start=1):
        say(f"\nleg {number} of {len(legs)}: {leg.name}")
        directory = root / leg.id
        command = [
            *pytest_command(leg, ["--cluster-name", CLUSTER_NAME, *arguments]),
            *("--alluredir", str(directory / RESULTS), f"--junitxml={directory / 'junit.xml'}"),
        ]
        began = time.monotonic()
        yield LegRun(leg, _ended(command), time.monotonic() - began)


def _ended(command: Sequence[str]) -> int:
    """Return a command's exit code; an interruption reaches it too, and goes on once it has cleared up."""
    with ending_orderly(), subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    # From a terminal the interrupt came to both; from elsewhere only to this process.
    if not os.isatty(0):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(DEFAULTS.matrix_leg_stop)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # It does not listen, or is not to be waited for: the cluster ends with it all the same.
        process.terminate()
