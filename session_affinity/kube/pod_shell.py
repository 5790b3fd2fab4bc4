"""A shell in a pod that stays open: commands one after another over one connection, without starting a process each.

Starting a command by exec costs a TLS handshake and a container start; in a shell that runs already it costs a fork.
"""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.pod_exec import LOST, STDERR, STDOUT, ExecError
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK: Final = b"@@ended "
_READ_SECONDS: Final = 0.5
_LONGEST_LAST_LINE: Final = 80


class LostConnectionError(ExecError):
    """The connection ended before the command did."""


@dataclass(frozen=True)
class ShellEnded:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


class PodShell:
    """Runs commands in one shell of one pod, one at a time; may be shared by threads.

    ``connect`` opens the websocket of a shell that reads commands from its standard input. It is called when the first
    command is run and again when a connection was lost. ``name`` is for messages.
    """

    def __init__(self, name: str, connect: Callable[[], Any]) -> None:
        self._name = name
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Any = None
        self._number = 0

    def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> ShellEnded:
        """Run a command and wait for its end, at most ``timeout`` seconds; raises ExecError.

        A connection that was lost while it was idle is opened again; one lost under a command is not tried twice.
        """
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise ExecError(f"{self._name}: other commands kept it busy for {timeout:.0f} s")
        try:
            idle = self._connection is not None
            try:
                return self._attempt(argv, stdin, deadline, timeout)
            except LostConnectionError:
                if not idle:
                    raise
                return self._attempt(argv, stdin, deadline, timeout)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the shell."""
        with self._lock:
            self._drop()

    def _attempt(self, argv: Sequence[str], stdin: str | None, deadline: float, timeout: float) -> ShellEnded:
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
        except LOST as error:
            self._drop()
            raise LostConnectionError(f"{self._name}: the connection was lost: {error}") from error

    def _collect(self, argv: Sequence[str], mark: bytes, deadline: float, timeout: float) -> ShellEnded:
        """Read until both streams say that the command has ended: they are not in step with each other."""
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
                raise LostConnectionError(f"{self._name}: the shell has ended{': ' + output if output else ''}")
            return False

        if not poll(have_ended, deadline - time.monotonic(), pause=0):
            words = " ".join(argv)
            raise ExecError(
                f"{self._name}: {words if len(words) < 200 else words[:197] + '...'}: did not end "
                f"within {timeout:.0f} s",
                next_step=f"see whether the pod still runs; {SLOW_MACHINE}",
            )
        stdout, _, code = bytes(streams[STDOUT]).rpartition(b"\n" + mark + b" ")
        stderr = bytes(streams[STDERR]).rpartition(b"\n" + mark)[0]
        return ShellEnded(int(code), stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.sock.shutdown()


def line(argv: Sequence[str], mark: str, stdin: str | None = None) -> str:
    """Return what makes a shell run a command and say on both streams that it has ended.

    The mark has a line of its own whether or not the output ends with one, and what it adds is taken off again.
    """
    source = "</dev/null" if stdin is None else f"<<'{mark} input'\n{stdin}\n{mark} input\n"
    command = shlex.join(argv)
    body = f"{command} {source}\n" if stdin is None else f"{command} {source}"
    return f"{body}printf '\\n{mark} %d\\n' $?; printf '\\n{mark}\\n' >&2\n"


def _has_ended(text: bytearray, mark: bytes) -> bool:
    """Whether the last line is complete and the mark's."""
    return text.endswith(b"\n") and text[-_LONGEST_LAST_LINE:].rfind(b"\n" + mark) >= 0
