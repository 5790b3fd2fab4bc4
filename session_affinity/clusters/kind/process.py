"""Programs that take a while: what they say is told as it comes, and they end when this process has enough of them."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

from session_affinity.deadlines import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_READ_BYTES: Final = 65536


def run_told(
    argv: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, handing on each line it says; ``stderr`` of the result is all it said, in order.

    Raises OSError when it cannot be started, subprocess.TimeoutExpired with what it said when it takes longer than
    ``timeout`` seconds. It and all it started are ended then, and when this process is interrupted; it alone when this
    process is killed. Uses no threads, which cannot be started when the interpreter is about to end.
    """
    process = subprocess.Popen(
        (*_ending_with_us(), *argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )
    lines = _Lines(told)
    deadline = time.monotonic() + timeout
    try:
        _read(process, lines, deadline)
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise subprocess.TimeoutExpired(list(argv), timeout, stderr=lines.text.encode()) from None
    finally:
        _end(process)
    return subprocess.CompletedProcess(list(argv), process.returncode, "", lines.text)


def _ending_with_us() -> tuple[str, ...]:
    """Return what a command line begins with to end when this process does; nothing where there is no such program."""
    program = shutil.which("setpriv")
    return (program, "--pdeathsig", "KILL", "--") if program else ()


class _Lines:
    """Bytes as they come, cut into lines."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._rest = ""
        self.text = ""

    def add(self, content: bytes) -> None:
        text = content.decode(errors="replace")
        self.text += text
        *whole, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
        for line in whole:
            self._told(line)


def _read(process: subprocess.Popen[bytes], lines: _Lines, deadline: float) -> None:
    """Read until the other end is closed; raises TimeoutExpired."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise subprocess.TimeoutExpired(process.args, 0)
            content = os.read(process.stdout.fileno(), _READ_BYTES)
            if not content:
                return
            lines.add(content)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and its children where they have not ended."""
    if process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(DEFAULTS.kind_stop)
                break
    if process.stdout is not None:
        process.stdout.close()
