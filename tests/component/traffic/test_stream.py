"""A stream of requests, run by the shell of this machine with a stand-in for curl."""

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
from session_affinity.traffic.curl import RequestTimeouts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

TARGET = Target("10.200.1.5", 9000)
JSON = (
    '{{"url_effective": "http://10.200.1.5:9000/?{number}", "http_code": {status}, "exitcode": {code}, '
    '"local_port": 4000{number}, "num_connects": {connects}, "time_total": 0.001}} refused'
)


def line(number: int, *, ok: bool = True) -> str:
    return "@answer " + JSON.format(number=number, status=200 * ok, code=0 if ok else 7, connects=int(ok))


class Command:
    """A command whose output grows by one piece with every read."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)
        self.text = ""
        self.closed = False

    def read(self, seconds: float = 0.1) -> str:
        del seconds
        self.text += self.pieces.pop(0) if self.pieces else ""
        return self.text

    def end(self, timeout: float) -> str:
        assert timeout > 0
        self.text += "".join(self.pieces)
        return self.text

    def close(self) -> None:
        self.closed = True


def answered(number: int, at: float, *, ok: bool = True) -> str:
    host = f"{at:.2f} Hostname: webpod{number}\n" if ok else ""
    return f"{host}{at:.2f} {line(number, ok=ok)}\n"


def started(*pieces: str) -> stream.Stream:
    command: Any = Command("100.00 \n", *pieces)
    return stream.Stream(TARGET, command, request_seconds=1)


def test_waiting_returns_as_soon_as_there_are_enough_answers() -> None:
    running = started(answered(1, 100.1), answered(2, 100.2), answered(3, 100.3))

    answers = running.wait_for(lambda answers: len(answers) == 2, seconds=5)

    assert [answer.endpoint for answer in answers] == ["webpod1", "webpod2"]


def test_an_incomplete_line_is_not_an_answer_yet() -> None:
    text = answered(1, 100.1)

    assert len(started(text[:-20]).wait_for(lambda _: True, seconds=5)) == 0


def test_too_few_answers_are_an_error_with_their_summary() -> None:
    with pytest.raises(TrafficError, match=r"10\.200\.1\.5:9000: .* 1 requests: webpod1 1"):
        started(answered(1, 100.1)).wait_for(lambda answers: len(answers) == 2, seconds=0.01)


def test_a_request_was_sent_after_a_moment_if_the_answer_before_it_came_later() -> None:
    answers = started(answered(1, 100.1) + answered(2, 100.2, ok=False) + answered(3, 100.3)).stop()

    assert [answer.endpoint for answer in stream.since(answers, 100.2)] == ["webpod3"]
    assert [answer.endpoint for answer in stream.since(answers, 100.1)] == [None, "webpod3"]


def test_the_end_of_a_block_closes_the_connection() -> None:
    with started() as running:
        pass

    assert running._command.closed  # type: ignore[attr-defined]


def test_the_script_sends_requests_until_it_reads_a_line(tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text(f"#!/bin/sh\necho Hostname: webpod1\necho noise\nprintf '\\n%s\\n' '{line(1)}' >&2\nsleep 0.01\n")
    curl.chmod(0o755)
    text = streamed(TARGET, f"{tmp_path}:{os.environ['PATH']}")
    answers = stream.parse(text)

    assert len(answers) >= 3
    assert {answer.endpoint for answer in answers} == {"webpod1"}
    assert "noise" not in text


@needs_curl
def test_a_refused_connection_has_a_reason() -> None:
    answers = stream.parse(streamed(Target("127.0.0.4", 1)))

    assert len(answers) >= 3
    assert all(answer.error.startswith("curl 7: ") and "(Connection refused)" in answer.error for answer in answers)


def streamed(target: Target, path: str = os.environ["PATH"]) -> str:
    """Return the script's output up to at least three answers; ``path`` is its search path for programs."""
    environment = {**os.environ, "PATH": path}
    argv = stream.argv(target, RequestTimeouts(1, 2))
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
