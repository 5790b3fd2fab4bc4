"""A stand-in for the websocket of a shell in a pod: a shell of this machine."""

from __future__ import annotations

import os
import select
import subprocess
from types import SimpleNamespace

import websocket

from session_affinity.kube.pod_exec import STDERR, STDOUT


class Websocket:
    """The part of the client's websocket that is used, connected to a shell of this machine."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.pipes = {self.process.stdout: STDOUT, self.process.stderr: STDERR}
        self.received = {STDOUT: b"", STDERR: b""}
        self.sock = SimpleNamespace(shutdown=self.end)

    def write_stdin(self, data: bytes) -> None:
        assert self.process.stdin
        if self.process.stdin.closed:
            raise websocket.WebSocketConnectionClosedException("socket is already closed.")
        self.process.stdin.write(data)

    def update(self, timeout: float) -> None:
        for pipe in select.select(list(self.pipes), [], [], timeout)[0]:
            data = os.read(pipe.fileno(), 7)  # little at a time, so that the end comes in pieces
            self.received[self.pipes[pipe]] += data
            if not data:
                del self.pipes[pipe]

    def read_channel(self, channel: int) -> bytes:
        data, self.received[channel] = self.received[channel], b""
        return data

    def is_open(self) -> bool:
        return bool(self.pipes)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        self.pipes = {}
