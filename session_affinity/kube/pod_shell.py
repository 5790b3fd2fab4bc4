"""A shell in a pod that stays open: it runs one command after another over one connection.

Each exec request costs a TLS handshake and a process start by the container runtime; a command in an open shell costs a
fork.
"""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.pod_exec import CONNECTION_ERRORS, LOST_STEP, STDERR, STDOUT, ExecError
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK: Final = b"@@ended "
_READ_SECONDS: Final = 0.5
LONGEST_LAST_LINE: Final = 80
"""How many bytes at the end of the output have all of the mark."""


class LostConnectionError(ExecError):
    """The connection was lost while a command ran."""


@dataclass(frozen=True)
class ShellResult:
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


class PodShell:
    """Runs commands in one shell of one pod, one at a time; may be shared by threads.

    ``connect`` opens the websocket of a shell that reads commands from its standard input. It is called for the first
    command and after a connection was lost. ``name`` names the pod in messages.
    """

    def __init__(self, name: str, connect: Callable[[], Any]) -> None:
        self._name = name
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Any = None
        self._number = 0

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: str | None = None, repeats: bool = True
    ) -> ShellResult:
        """Run a command and wait for its end, at most ``timeout`` seconds; raises ExecError.

        A connection that was lost while it was idle is opened again, unless ``repeats`` is False: the command may have
        begun. A command whose new connection is lost is not repeated.
        """
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise ExecError(
                f"{self._name}: the shell was busy with other commands for {timeout:.0f} s", next_step=SLOW_MACHINE
            )
        try:
            may_repeat = repeats and self._connection is not None
            try:
                return self._attempt(argv, stdin, deadline, timeout)
            except LostConnectionError:
                if not may_repeat:
                    raise
                return self._attempt(argv, stdin, deadline, timeout)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the shell."""
        with self._lock:
            self._drop()

    def _attempt(self, argv: Sequence[str], stdin: str | None, deadline: float, timeout: float) -> ShellResult:
        self._number += 1
        mark = MARK + str(self._number).encode()
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.write_stdin(line(argv, mark.decode(), stdin).encode())
            return self._collect(argv, mark, deadline, timeout)
        except ClusterError:
            self._drop()
            raise
        except CONNECTION_ERRORS as error:
            self._drop()
            raise LostConnectionError(f"{self._name}: the connection was lost: {error}", next_step=LOST_STEP) from error

    def _collect(self, argv: Sequence[str], mark: bytes, deadline: float, timeout: float) -> ShellResult:
        """Read until both streams have the mark, in whichever order they come."""
        streams = {STDOUT: bytearray(), STDERR: bytearray()}

        def have_ended() -> bool:
            self._connection.update(timeout=min(max(deadline - time.monotonic(), 0), _READ_SECONDS))
            received = {channel: self._connection.read_channel(channel) for channel in streams}
            for channel, data in received.items():
                streams[channel] += data
            if all(_has_ended(text, mark) for text in streams.values()):
                return True
            if not any(received.values()) and not self._connection.is_open():
                output = bytes(streams[STDERR]).decode(errors="replace").strip()[-300:]
                raise LostConnectionError(
                    f"{self._name}: the shell has ended{': ' + output if output else ''}", next_step=LOST_STEP
                )
            return False

        if not poll(have_ended, deadline - time.monotonic(), pause=0):
            words = " ".join(argv)
            raise ExecError(
                f"{self._name}: {words if len(words) < 200 else words[:197] + '...'}: did not end "
                f"within {timeout:.0f} s",
                next_step=f"check that the pod still runs; {SLOW_MACHINE}",
            )
        stdout, _, code = bytes(streams[STDOUT]).rpartition(b"\n" + mark + b" ")
        stderr = bytes(streams[STDERR]).rpartition(b"\n" + mark)[0]
        return ShellResult(int(code), stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.sock.shutdown()


def line(argv: Sequence[str], mark: str, stdin: str | None = None) -> str:
    """Return shell input that runs a command and then prints a mark on both streams, on standard output with the code.

    The mark begins with a newline, so that it is a line of its own even if the output does not end with one; the reader
    removes that newline.
    """
    source = "</dev/null" if stdin is None else f"<<'{mark} input'\n{stdin}\n{mark} input\n"
    command = shlex.join(argv)
    body = f"{command} {source}\n" if stdin is None else f"{command} {source}"
    return f"{body}printf '\\n{mark} %d\\n' $?; printf '\\n{mark}\\n' >&2\n"


def _has_ended(text: bytearray, mark: bytes) -> bool:
    """Whether the last line is complete and has the mark."""
    return text.endswith(b"\n") and text[-LONGEST_LAST_LINE:].rfind(b"\n" + mark) >= 0
