"""Runs the commands of a build: output goes to a log, and an interrupt ends a command with its children."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TAIL_LINES: Final = 20
DEFAULT_ADVICE: Final = "read the log; the next run resumes with this step"
COMPILER_PACKAGES: Final = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")
COMPILER_ADVICE: Final = (
    f"install a C compiler, the static C library and libseccomp (Debian: {' '.join(COMPILER_PACKAGES)})"
)
# Patterns in the end of a log and the next step for each; the first match counts.
ADVICE: Final = (
    (
        r"no space left on device",
        "free some space there, or set SESSION_AFFINITY_CACHE to another directory; then run again",
    ),
    (r"read-only file system", "set SESSION_AFFINITY_CACHE to a writable directory"),
    (r"C compiler|cannot find -l|pkg-config|stdlib\.h|\bcc1\b", COMPILER_ADVICE),
    (r"signal: killed", "the machine ran out of memory: free some, or set GOMAXPROCS=1; then run again"),
    (
        r"unknown revision|invalid version|not available|404 Not Found",
        "use a release that the Go module proxy has, such as those in .github/kubernetes-versions.json",
    ),
    (
        r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake|proxyconnect|50\d (Bad|Service|Gateway)",
        "check the connection to the Go module proxy (GOPROXY, HTTPS_PROXY); the next run resumes with this step",
    ),
    (
        r"SECURITY ERROR|checksum mismatch",
        "the downloaded module is not the published one: check GOPROXY and run again",
    ),
)


def run(
    step: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    on_line: Callable[[str], None],
    output: Path | None = None,
) -> None:
    """Run a command; each line of its standard error goes to the log and to ``on_line``.

    Standard output goes to the file ``output``, by default to the log. Raises BinaryError with the name ``step``, the
    command, its exit code, the end of the log and the next step.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with log.open("ab", buffering=0) as record:
        record.write(f"$ {' '.join(argv)}\n".encode())
        with (output or log).open("ab") as standard_output:
            try:
                process = subprocess.Popen(
                    (*_end_with_this_process(), *argv),
                    stdin=subprocess.DEVNULL,
                    stdout=standard_output,
                    stderr=subprocess.PIPE,
                    env=dict(environment),
                    cwd=directory,
                    start_new_session=True,
                )
            except OSError as error:
                raise BinaryError(f"{step}: cannot start {argv[0]}: {error.strerror}") from error
        with process:
            try:
                for line in process.stderr or ():
                    record.write(line)
                    text = line.decode(errors="replace").rstrip()
                    tail.append(text)
                    on_line(text)
                code = process.wait()
            except BaseException:
                _stop(process)
                raise
    if code:
        end_of_log = "\n".join(f"    {line}" for line in tail)
        raise BinaryError(
            f"{step} failed: {' '.join(argv)} ended with {code}; the end of {log}:\n{end_of_log}",
            next_step=advice(end_of_log),
        )


def advice(end_of_log: str) -> str:
    """Return the next step for a failure, given the end of its log."""
    return next((step for pattern, step in ADVICE if re.search(pattern, end_of_log)), DEFAULT_ADVICE)


def _end_with_this_process() -> tuple[str, ...]:
    """Return a prefix that ends a command when this process ends, even by SIGKILL; empty without setpriv."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, then SIGKILL, to the process group: a compiler may outlive the go command that started it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(DEFAULTS.build_stop)
