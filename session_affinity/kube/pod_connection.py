"""The streams of a command in a pod, over one websocket that stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.kube.pod_exec import CONNECTION_ERRORS, LOST_STEP, STDERR, STDOUT, ExecError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK_BYTES: Final = 1 << 16
_MOST_MESSAGES: Final = 1000
"""The messages that one ``receive_all`` takes at most."""
_SHOWN_CHARACTERS: Final = 300


class PodConnection:
    """Writes to a command and collects what it prints. For one thread at a time.

    ``websocket`` has the command's streams, ``name`` names the pod in messages. ``received`` has what came on each
    stream; whoever reads may take it from there. Every method but ``close`` raises ExecError when the connection is
    lost.
    """

    def __init__(self, name: str, websocket: Any) -> None:
        self.received: Mapping[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self._name = name
        self._websocket = websocket

    def write(self, data: bytes) -> None:
        """Send data to the command's standard input."""
        try:
            for begin in range(0, len(data), _CHUNK_BYTES):
                self._websocket.write_stdin(data[begin : begin + _CHUNK_BYTES])
        except CONNECTION_ERRORS as error:
            raise self._lost(error) from error

    def receive(self, seconds: float) -> bool:
        """Receive output for at most ``seconds``; return whether the connection is still open."""
        try:
            if self._websocket.is_open():
                self._websocket.update(timeout=seconds)
            for channel, text in self.received.items():
                text.extend(self._websocket.read_channel(channel))
        except CONNECTION_ERRORS as error:
            raise self._lost(error) from error
        return bool(self._websocket.is_open())

    def receive_all(self, seconds: float) -> bool:
        """Wait for output at most ``seconds``, and take all that has arrived; return whether the connection is open.

        Not one message: a busy machine would never catch up with several connections.
        """
        is_open, length = self.receive(seconds), 0
        for _ in range(_MOST_MESSAGES):
            if not is_open or self._length == length:
                break
            length = self._length
            is_open = self.receive(0)
        return is_open

    def ended(self) -> ExecError:
        """Return the error of a command that has ended by itself, with what it printed last on standard error."""
        shown = bytes(self.received[STDERR]).decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]
        return ExecError(f"{self._name}: the command has ended{': ' + shown if shown else ''}", next_step=LOST_STEP)

    def close(self) -> None:
        """Close the connection without waiting; the command ends because its standard input ends."""
        if self._websocket.sock is not None:
            self._websocket.sock.shutdown()

    @property
    def _length(self) -> int:
        return sum(map(len, self.received.values()))

    def _lost(self, error: Exception) -> ExecError:
        return ExecError(f"{self._name}: the connection was lost: {error}", next_step=LOST_STEP)
