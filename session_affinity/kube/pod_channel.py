"""A command in a pod that is sent lines and prints lines, over one connection that stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.kube.pod_exec import CONNECTION_ERRORS, LOST_STEP, STDERR, STDOUT, ExecError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK_BYTES: Final = 1 << 16
_MOST_MESSAGES: Final = 1000
"""The messages that one read takes at most."""
_SHOWN_CHARACTERS: Final = 300


class PodChannel:
    """Lines to and from a command. For one thread at a time.

    ``connection`` is the websocket of its streams, ``name`` names the pod in messages.
    """

    def __init__(self, name: str, connection: Any) -> None:
        self._name = name
        self._connection = connection
        self._rest = b""
        self._errors = b""

    def write(self, line: bytes) -> None:
        """Send a line; raises ExecError when the connection is lost."""
        try:
            for begin in range(0, len(line), _CHUNK_BYTES):
                self._connection.write_stdin(line[begin : begin + _CHUNK_BYTES])
        except CONNECTION_ERRORS as error:
            raise self._lost(error) from error

    def read(self, seconds: float) -> Sequence[bytes]:
        """Return the complete lines that came, waiting for the first output at most so long; raises ExecError."""
        try:
            is_open = self._receive(seconds)
            for _ in range(_MOST_MESSAGES):
                before = len(self._rest)
                is_open = is_open and self._receive(0)
                if len(self._rest) == before:
                    break
        except CONNECTION_ERRORS as error:
            raise self._lost(error) from error
        *lines, self._rest = self._rest.split(b"\n")
        if not lines and not is_open:
            shown = self._errors.decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]
            raise ExecError(f"{self._name}: the command has ended{': ' + shown if shown else ''}", next_step=LOST_STEP)
        return lines

    def close(self) -> None:
        """Close the connection; the command ends because its standard input ends."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown()

    def _receive(self, seconds: float) -> bool:
        if self._connection.is_open():
            self._connection.update(timeout=seconds)
        self._rest += self._connection.read_channel(STDOUT)
        self._errors = (self._errors + self._connection.read_channel(STDERR))[-_SHOWN_CHARACTERS:]
        return bool(self._connection.is_open())

    def _lost(self, error: Exception) -> ExecError:
        return ExecError(f"{self._name}: the connection was lost: {error}", next_step=LOST_STEP)
