"""A command in a pod that is sent lines and prints lines, over one connection that stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.kube.pod_connection import PodConnection
from session_affinity.kube.pod_exec import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT_BYTES: Final = 4096
"""How much of what the command printed on standard error is kept, for the message when it ends."""


class PodChannel:
    """Lines to and from a command. For one thread at a time.

    ``websocket`` has the command's streams, ``name`` names the pod in messages.
    """

    def __init__(self, name: str, websocket: Any) -> None:
        self._connection = PodConnection(name, websocket)

    def write(self, line: bytes) -> None:
        """Send a line; raises ExecError when the connection is lost."""
        self._connection.write(line)

    def read(self, seconds: float) -> Sequence[bytes]:
        """Return the complete lines that came, waiting for the first output at most so long; raises ExecError."""
        is_open = self._connection.receive_all(seconds)
        output, errors = self._connection.received[STDOUT], self._connection.received[STDERR]
        complete = output.rfind(b"\n") + 1
        lines = bytes(output[:complete]).split(b"\n")[:-1]
        del output[:complete]
        del errors[:-_KEPT_BYTES]
        if not lines and not is_open:
            raise self._connection.ended()
        return lines

    def close(self) -> None:
        """Close the connection; the command ends because its standard input ends."""
        self._connection.close()
