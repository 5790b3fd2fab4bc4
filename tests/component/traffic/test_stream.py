"""Requests that go on, run by the shell of this machine with a stand-in for curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import stream
from session_affinity.traffic.answers import Target
from session_affinity.traffic.curl import Patience

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

TARGET = Target("10.200.1.5", 9000)
JSON = (
    '{{"url_effective": "http://10.200.1.5:9000/?{number}", "http_code": {status}, "exitcode": {code}, '
    '"local_port": 4000{number}, "num_connects": {connects}, "time_total": 0.001, "errormsg": "refused"}}'
)


def line(number: int, *, ok: bool = True) -> str:
    return "@answer " + JSON.format(number=number, status=200 * ok, code=0 if ok else 7, connects=int(ok))


class RunningStream:
    """Says a little more each time."""

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.text = ""
        self.closed = False

    def read(self, seconds: float = 0.1) -> str:
        del seconds
        self.text += self.said.pop(0) if self.said else ""
        return self.text

    def end(self, timeout: float) -> str:
        assert timeout > 0
        self.text += "".join(self.said)
        return self.text

    def close(self) -> None:
        self.closed = True


def answered(number: int, at: float, *, ok: bool = True) -> str:
    host = f"{at:.2f} Hostname: webpod{number}\n" if ok else ""
    return f"{host}{at:.2f} {line(number, ok=ok)}\n"


def streaming(*said: str) -> stream.Stream:
    running: Any = RunningStream("100.00 \n", *said)
    return stream.Stream(TARGET, running, patience=1)


def test_what_is_waited_for_is_seen_as_it_comes() -> None:
    going = streaming(answered(1, 100.1), answered(2, 100.2), answered(3, 100.3))

    found = going.wait_for(lambda answers: len(answers) == 2, seconds=5)

    assert [one.endpoint for one in found] == ["webpod1", "webpod2"]


def test_a_line_that_is_not_whole_yet_is_waited_for() -> None:
    text = answered(1, 100.1)

    assert len(streaming(text[:-20]).wait_for(lambda _: True, seconds=5)) == 0


def test_what_does_not_come_is_an_error_with_what_did() -> None:
    with pytest.raises(TrafficError, match=r"10\.200\.1\.5:9000: .* 1 requests: webpod1 1"):
        streaming(answered(1, 100.1)).wait_for(lambda answers: len(answers) == 2, seconds=0.01)


def test_requests_count_as_sent_after_a_moment_when_the_answer_before_came_after_it() -> None:
    found = streaming(answered(1, 100.1) + answered(2, 100.2, ok=False) + answered(3, 100.3)).stop()

    assert [one.endpoint for one in stream.since(found, 100.2)] == ["webpod3"]
    assert [one.endpoint for one in stream.since(found, 100.1)] == [None, "webpod3"]


def test_a_block_that_ends_leaves_it() -> None:
    with streaming() as going:
        pass

    assert going._running.closed  # type: ignore[attr-defined]


def test_the_script_asks_until_it_reads_a_line(tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text(f"#!/bin/sh\necho Hostname: webpod1\necho noise\nprintf '\\n%s\\n' '{line(1)}' >&2\nsleep 0.01\n")
    curl.chmod(0o755)
    text = streamed(TARGET, f"{tmp_path}:{os.environ['PATH']}")
    found = stream.parse(text)

    assert len(found) >= 3
    assert {one.endpoint for one in found} == {"webpod1"}
    assert "noise" not in text


@needs_curl
def test_a_refused_connection_tells_its_reason() -> None:
    found = stream.parse(streamed(Target("127.0.0.4", 1)))

    assert len(found) >= 3
    assert all(one.error.startswith("curl 7: ") and "(Connection refused)" in one.error for one in found)


def streamed(target: Target, path: str = os.environ["PATH"]) -> str:
    """Return what the script says until it has told of three answers; ``path`` is where it looks for programs."""
    environment = {**os.environ, "PATH": path}
    argv = stream.argv(target, Patience(1, 2))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout
        assert running.stdin
        text = ""
        deadline = time.monotonic() + 10
        while text.count("@answer") < 3 and time.monotonic() < deadline:
            text += running.stdout.readline()
        running.stdin.write("\n")
        running.stdin.flush()
        rest, _ = running.communicate(timeout=10)
    return text + rest
