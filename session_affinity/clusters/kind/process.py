"""Runs long-lasting programs: passes on their output line by line and ends them after their deadline."""

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


def run_streaming(
    argv: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda _: None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and call ``on_line`` with each line of its output as it arrives.

    ``stderr`` of the result is stdout and stderr together, in the order they were written; ``stdout`` is empty. Raises
    OSError when the program cannot be started, and subprocess.TimeoutExpired, with the output so far, after ``timeout``
    seconds. After the deadline or an interrupt of this process, the program and all its children are ended; when this
    process is killed, only the program itself is. Uses no threads, which cannot be started while the interpreter exits.
    """
    process = subprocess.Popen(
        (*_parent_death_argv(), *argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )
    lines = _LineBuffer(on_line)
    deadline = time.monotonic() + timeout
    try:
        _read(process, lines, deadline)
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise subprocess.TimeoutExpired(list(argv), timeout, stderr=lines.text.encode()) from None
    finally:
        _end(process)
    return subprocess.CompletedProcess(list(argv), process.returncode, "", lines.text)


def _parent_death_argv() -> tuple[str, ...]:
    """Return a command prefix that kills the command when this process dies; empty where setpriv is not installed."""
    program = shutil.which("setpriv")
    return (program, "--pdeathsig", "KILL", "--") if program else ()


class _LineBuffer:
    """Splits output into lines as it arrives and keeps all of it in ``text``."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = ""
        self.text = ""

    def add(self, content: bytes) -> None:
        text = content.decode(errors="replace")
        self.text += text
        *lines, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
        for line in lines:
            self._on_line(line)


def _read(process: subprocess.Popen[bytes], lines: _LineBuffer, deadline: float) -> None:
    """Read the output until the program closes it; raises TimeoutExpired."""
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
    """End the program and its children if it still runs: SIGTERM, then SIGKILL after ``kind_stop`` seconds."""
    if process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(DEFAULTS.kind_stop)
                break
    if process.stdout is not None:
        process.stdout.close()
