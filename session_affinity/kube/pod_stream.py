"""A command in a pod that goes on until it is told to end, with its output as it comes."""

from __future__ import annotations

from typing import Any, Final

from session_affinity.kube.pod_exec import LOST, STDERR, STDOUT, ExecError
from session_affinity.waiting import poll

_READ_SECONDS: Final = 0.1
_SAID: Final = 300


class PodStream:
    """A command that ends when it reads a line, or the end, of its standard input. For one thread.

    ``connection`` is the websocket of its streams, ``name`` is for messages.
    """

    def __init__(self, name: str, connection: Any) -> None:
        self._name = name
        self._connection = connection
        self._said = {STDOUT: bytearray(), STDERR: bytearray()}

    @property
    def output(self) -> str:
        """What it has printed so far, complete lines only."""
        text, newline, _ = bytes(self._said[STDOUT]).rpartition(b"\n")
        return (text + newline).decode(errors="replace")

    def read(self, seconds: float = _READ_SECONDS) -> str:
        """Wait for more output, at most that long, and return all there is; raises ExecError when the command ended."""
        if not self._receive(seconds):
            said = bytes(self._said[STDERR]).decode(errors="replace").strip()[-_SAID:]
            raise ExecError(f"{self._name}: it has ended{': ' + said if said else ''}")
        return self.output

    def end(self, timeout: float) -> str:
        """Tell the command to end, wait for it and return its output; raises ExecError when it does not end in time."""
        try:
            self._connection.write_stdin(b"\n")
            if not poll(lambda: not self._receive(_READ_SECONDS), timeout, pause=0):
                raise ExecError(f"{self._name}: did not end within {timeout:.0f} s after it was told to")
        finally:
            self.close()
        return self.output

    def close(self) -> None:
        """Leave the command, which ends by itself when its input does."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown()

    def _receive(self, seconds: float) -> bool:
        """Take what has come; return whether more may follow."""
        try:
            if self._connection.is_open():
                self._connection.update(timeout=seconds)
            for channel, text in self._said.items():
                text.extend(self._connection.read_channel(channel))
        except LOST as error:
            raise ExecError(f"{self._name}: the connection was lost: {error}") from error
        return bool(self._connection.is_open())
