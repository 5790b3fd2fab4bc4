"""Commands of a build: run with what they say in a log, stopped with all their children on interruption."""

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
# What the end of a log betrays about the cause, the most telling first.
ADVICE: Final = (
    (
        r"no space left on device",
        "make room there, or name another directory in SESSION_AFFINITY_CACHE; then run again",
    ),
    (r"read-only file system", "name a directory that can be written in SESSION_AFFINITY_CACHE"),
    (r"C compiler|cannot find -l|pkg-config|stdlib\.h|\bcc1\b", COMPILER_ADVICE),
    (r"signal: killed", "the machine ran out of memory: free some, or set GOMAXPROCS=1; then run again"),
    (
        r"unknown revision|invalid version|not available|404 Not Found",
        "ask for a release the Go module proxy has, such as those in .github/kubernetes-versions.json",
    ),
    (
        r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake|proxyconnect|50\d (Bad|Service|Gateway)",
        "check the way to the Go module proxy (GOPROXY, HTTPS_PROXY); the next run resumes with this step",
    ),
    (r"SECURITY ERROR|checksum mismatch", "what was fetched is not what was published: check GOPROXY and run again"),
)


def run(
    what: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    heard: Callable[[str], None],
    output: Path | None = None,
) -> None:
    """Run a command; each line of its standard error goes to the log and to ``heard``.

    Its standard output goes to the file ``output``, else to the log. Raises BinaryError naming ``what``, the command,
    its exit code, the log and its last lines, and what to do.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with log.open("ab", buffering=0) as record:
        record.write(f"$ {' '.join(argv)}\n".encode())
        with (output or log).open("ab") as answers:
            try:
                process = subprocess.Popen(
                    (*_bound_to_this_process(), *argv),
                    stdin=subprocess.DEVNULL,
                    stdout=answers,
                    stderr=subprocess.PIPE,
                    env=dict(environment),
                    cwd=directory,
                    start_new_session=True,
                )
            except OSError as error:
                raise BinaryError(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
        with process:
            try:
                for line in process.stderr or ():
                    record.write(line)
                    text = line.decode(errors="replace").rstrip()
                    tail.append(text)
                    heard(text)
                code = process.wait()
            except BaseException:
                _stop(process)
                raise
    if code:
        said = "\n".join(f"    {line}" for line in tail)
        raise BinaryError(
            f"{what} failed: {' '.join(argv)} ended with {code}; the end of {log}:\n{said}",
            next_step=advice(said),
        )


def advice(said: str) -> str:
    """Return what to do about the failure the end of a log tells of."""
    return next((step for pattern, step in ADVICE if re.search(pattern, said)), DEFAULT_ADVICE)


def _bound_to_this_process() -> tuple[str, ...]:
    """Return what makes a command end with this process even if that is killed with -9, where util-linux has it."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command and its children; ask first. A compiler may outlive the go command that started it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(DEFAULTS.build_stop)
