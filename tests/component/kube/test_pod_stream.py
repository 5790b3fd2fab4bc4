"""A command that runs until it is stopped, with a stand-in for the websocket."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.kube.pod_exec import STDERR, STDOUT, ExecError
from session_affinity.kube.pod_stream import PodStream

pytestmark = pytest.mark.unit


class Websocket:
    """Returns the output of a command, one piece per update; closed after input, or with ``ends`` after the output."""

    def __init__(self, *pieces: bytes, ends: bool = False, stderr: bytes = b"") -> None:
        self.pieces = list(pieces)
        self.ends = ends
        self.written: list[bytes] = []
        self.closed = 0
        self.waiting = {STDOUT: b"", STDERR: stderr}
        self.sock = self

    def shutdown(self) -> None:
        self.closed += 1

    def is_open(self) -> bool:
        return bool(self.pieces) or not (self.written or self.ends)

    def update(self, timeout: float) -> None:
        del timeout
        if self.pieces:
            self.waiting[STDOUT] += self.pieces.pop(0)

    def read_channel(self, channel: int) -> bytes:
        data, self.waiting[channel] = self.waiting[channel], b""
        return data

    def write_stdin(self, data: bytes) -> None:
        self.written.append(data)


def stream(websocket: Any) -> PodStream:
    return PodStream("default/net-pod", websocket)


def test_output_comes_in_whole_lines() -> None:
    websocket = Websocket(b"one\ntw")
    running = stream(websocket)

    assert running.read() == "one\n"
    websocket.pieces.append(b"o\n")
    assert running.read() == "one\ntwo\n"


def test_all_that_has_arrived_is_read_at_once() -> None:
    assert stream(Websocket(b"one\n", b"two\n", b"three\n")).read() == "one\ntwo\nthree\n"


def test_stopping_returns_the_whole_output() -> None:
    websocket = Websocket(b"one\n", b"two\n")

    assert stream(websocket).end(timeout=1) == "one\ntwo\n"
    assert websocket.written == [b"\n"]
    assert websocket.closed == 1


def test_a_command_that_ended_by_itself_is_an_error_with_its_output() -> None:
    with pytest.raises(ExecError, match="default/net-pod: the command has ended: curl: not found"):
        stream(Websocket(ends=True, stderr=b"curl: not found\n")).read()


def test_a_command_that_does_not_end_is_an_error_and_its_connection_is_closed() -> None:
    class Endless(Websocket):
        def is_open(self) -> bool:
            return True

    websocket = Endless()

    with pytest.raises(ExecError, match="did not end within 0 s"):
        stream(websocket).end(timeout=0)
    assert websocket.closed == 1


def test_a_connection_that_breaks_is_an_error() -> None:
    class Broken(Websocket):
        def update(self, timeout: float) -> None:
            raise OSError(f"reset after {timeout} s")

    with pytest.raises(ExecError, match="the connection was lost: reset after"):
        stream(Broken(b"x")).read()
