"""A command in a pod that runs until it is stopped; its output can be read while it runs."""

from __future__ import annotations

from typing import Any, Final

from session_affinity.kube.pod_connection import PodConnection
from session_affinity.kube.pod_exec import STDOUT, ExecError
from session_affinity.waiting import SLOW_MACHINE, poll

_READ_SECONDS: Final = 0.1


class PodStream:
    """A command that ends when it reads a line, or the end, of its standard input. For one thread.

    ``websocket`` has the command's streams, ``name`` names the pod in messages.
    """

    def __init__(self, name: str, websocket: Any) -> None:
        self._name = name
        self._connection = PodConnection(name, websocket)
        self._stopped = False

    @property
    def output(self) -> str:
        """The standard output so far, complete lines only."""
        text, newline, _ = bytes(self._connection.received[STDOUT]).rpartition(b"\n")
        return (text + newline).decode(errors="replace")

    def read(self, seconds: float = _READ_SECONDS) -> str:
        """Wait for more output, at most ``seconds``, and return all output; raises ExecError if the command ended."""
        if not self._connection.receive_all(seconds):
            raise self._connection.ended()
        return self.output

    def stop(self) -> None:
        """Have the command end, without waiting for that; raises ExecError when the connection is lost."""
        if self._stopped:
            return
        self._stopped = True
        self._connection.write(b"\n")

    def end(self, timeout: float) -> str:
        """Stop the command, wait for its end and return its output; raises ExecError if it does not end in time."""
        try:
            self.stop()
            if not poll(lambda: not self._connection.receive(_READ_SECONDS), timeout, pause=0):
                raise ExecError(
                    f"{self._name}: the command did not end within {timeout:.0f} s after it was stopped",
                    next_step=f"check that the pod still runs; {SLOW_MACHINE}",
                )
        finally:
            self.close()
        return self.output

    def close(self) -> None:
        """Close the connection without waiting; the command ends because its standard input ends."""
        self._connection.close()
