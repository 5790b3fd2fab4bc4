"""A command in a pod that runs until it is stopped; its output can be read while it runs."""

from __future__ import annotations

from typing import Any, Final

from session_affinity.kube.pod_exec import CONNECTION_ERRORS, LOST_STEP, STDERR, STDOUT, ExecError
from session_affinity.waiting import SLOW_MACHINE, poll

_READ_SECONDS: Final = 0.1
_SHOWN_CHARACTERS: Final = 300
_MOST_MESSAGES: Final = 1000
"""The messages that one read takes at most."""


class PodStream:
    """A command that ends when it reads a line, or the end, of its standard input. For one thread.

    ``connection`` is the websocket of its streams, ``name`` names the pod in messages.
    """

    def __init__(self, name: str, connection: Any) -> None:
        self._name = name
        self._connection = connection
        self._stopped = False
        self._received = {STDOUT: bytearray(), STDERR: bytearray()}

    @property
    def output(self) -> str:
        """The standard output so far, complete lines only."""
        text, newline, _ = bytes(self._received[STDOUT]).rpartition(b"\n")
        return (text + newline).decode(errors="replace")

    def read(self, seconds: float = _READ_SECONDS) -> str:
        """Wait for more output, at most ``seconds``, and return all output; raises ExecError if the command ended.

        It takes all that has arrived, not one message: a busy machine would never catch up with several streams.
        """
        is_open, length = self._receive(seconds), 0
        for _ in range(_MOST_MESSAGES):
            if not is_open or self._length == length:
                break
            length = self._length
            is_open = self._receive(0)
        if not is_open:
            errors = bytes(self._received[STDERR]).decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]
            raise ExecError(
                f"{self._name}: the command has ended{': ' + errors if errors else ''}", next_step=LOST_STEP
            )
        return self.output

    def stop(self) -> None:
        """Have the command end, without waiting for that; raises ExecError when the connection is lost."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._connection.write_stdin(b"\n")
        except CONNECTION_ERRORS as error:
            raise ExecError(f"{self._name}: the connection was lost: {error}", next_step=LOST_STEP) from error

    def end(self, timeout: float) -> str:
        """Stop the command, wait for its end and return its output; raises ExecError if it does not end in time."""
        try:
            self.stop()
            if not poll(lambda: not self._receive(_READ_SECONDS), timeout, pause=0):
                raise ExecError(
                    f"{self._name}: the command did not end within {timeout:.0f} s after it was stopped",
                    next_step=f"check that the pod still runs; {SLOW_MACHINE}",
                )
        finally:
            self.close()
        return self.output

    def close(self) -> None:
        """Close the connection without waiting; the command ends because its standard input ends."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown()

    @property
    def _length(self) -> int:
        return sum(map(len, self._received.values()))

    def _receive(self, seconds: float) -> bool:
        """Receive output for at most ``seconds``; return whether the connection is still open."""
        try:
            if self._connection.is_open():
                self._connection.update(timeout=seconds)
            for channel, text in self._received.items():
                text.extend(self._connection.read_channel(channel))
        except CONNECTION_ERRORS as error:
            raise ExecError(f"{self._name}: the connection was lost: {error}", next_step=LOST_STEP) from error
        return bool(self._connection.is_open())
