"""The coordinator as a process of this machine, spoken to over pipes instead of an exec."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from session_affinity.agents.fleet import Fleet
from session_affinity.agents.session import Secret
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTES = 1 << 20


class ProcessChannel:
    """Lines to and from a coordinator on loopback."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "session_affinity.agents.coordinator"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._rest = b""

    def write(self, line: bytes) -> None:
        """Send a line."""
        stdin: Any = self.process.stdin
        try:
            stdin.write(line)
            stdin.flush()
        except OSError as error:
            raise ClusterError(f"the coordinator has ended: {error}") from error

    def read(self, seconds: float) -> Sequence[bytes]:
        """Return the lines that have come."""
        stdout: Any = self.process.stdout
        if not select.select([stdout], [], [], seconds)[0]:
            return []
        came = os.read(stdout.fileno(), _BYTES)
        if not came:
            raise ClusterError("the coordinator has ended")
        *lines, self._rest = (self._rest + came).split(b"\n")
        return lines

    def close(self) -> None:
        """End the coordinator."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.process.wait(10)


class LoopbackFleet(Fleet):
    """Agents on loopback, with a coordinator that listens at a port that is free."""

    def __init__(self) -> None:
        self.secret = Secret.new("127.0.0.1", 0)
        self.channels: list[ProcessChannel] = []
        super().__init__(self.secret, self._start, listen="127.0.0.1")

    def _start(self) -> ProcessChannel:
        self.channels.append(ProcessChannel())
        return self.channels[-1]

    def reached_at(self) -> Secret:
        """Start the coordinator, and return what agents need to reach it."""
        self.connected(10.0)
        return Secret("127.0.0.1", self.port, self.secret.secret)
