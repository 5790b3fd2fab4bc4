"""Runs legs one after another on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ci.matrix.expectations import pytest_command
from session_affinity.clusters.embedded.binaries import Cache, pins, store
from session_affinity.clusters.interrupts import sigterm_as_interrupt
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.deadlines import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from session_affinity.legs import Leg
    from session_affinity.versions import KubernetesVersions

CLUSTER_NAME: Final = "matrix"
RESULTS: Final = "allure-results"
EXIT_CODES: Final[dict[int, str]] = {
    ExitCode.HOLDS: "all passed",
    ExitCode.VIOLATED: "not all passed",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.INTERNAL_ERROR: "an error of the suite",
    ExitCode.USAGE: "unusable options",
    ExitCode.UNDETERMINED: "not all could be judged",
    ExitCode.NOTHING_JUDGED: "all skipped",
}
"""The meaning of a run's exit codes for a leg."""


@dataclass(frozen=True)
class LegRun:
    """A finished run of a leg: pytest's exit code (negative: the signal that ended it), and the seconds it took."""

    leg: Leg
    code: int
    seconds: float

    @property
    def line(self) -> str:
        """The run in one line."""
        result = EXIT_CODES.get(self.code, f"pytest exited with {self.code}")
        return f"{self.leg.name}: {result} in {self.seconds:.0f} s"


def cached_minors(supported: KubernetesVersions) -> tuple[str, ...]:
    """Return the minor versions whose programs are all in this user's cache: their clusters start at once."""
    cache = Cache.of_user()
    return tuple(
        version.minor
        for version in supported.versions
        if all(store.find(cache, component) for component in pins.components(version.release))
    )


def run_all(
    legs: Sequence[Leg], arguments: Sequence[str], root: Path, print_line: Callable[[str], None]
) -> Iterator[LegRun]:
    """Run each leg in a process of its own, one after another, with its results below ``root/<leg id>``.

    A leg that fails, or whose cluster does not start, does not stop the others. On KeyboardInterrupt the running leg
    removes its cluster, and no further leg starts.
    """
    for number, leg in enumerate(legs, start=1):
        print_line(f"\nleg {number} of {len(legs)}: {leg.name}")
        directory = root / leg.id
        command = [
            *pytest_command(leg, ["--cluster-name", CLUSTER_NAME, *arguments]),
            *("--alluredir", str(directory / RESULTS), f"--junitxml={directory / 'junit.xml'}"),
        ]
        began = time.monotonic()
        yield LegRun(leg, run_command(command), time.monotonic() - began)


def run_command(command: Sequence[str]) -> int:
    """Run a command and return its exit code; on KeyboardInterrupt, let it clean up before the exception goes on."""
    with sigterm_as_interrupt(), subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            _interrupt(process)
            raise


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    # Ctrl-C on a terminal reaches the child as well; a signal from elsewhere reached this process only.
    if not os.isatty(0):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(DEFAULTS.matrix_leg_stop)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # It hangs, or the user interrupts again: the cluster's processes end with it in any case.
        process.terminate()
