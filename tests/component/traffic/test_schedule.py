"""The timed script, run by the shell and the curl of this machine against a server in this process."""

from __future__ import annotations

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import schedule
from session_affinity.traffic.answers import Target
from session_affinity.traffic.curl import RequestTimeouts
from session_affinity.traffic.schedule import ScheduledRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIMEOUTS = RequestTimeouts(1, 2)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


class Whoami(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: a second would wait for the first to be acknowledged

    def do_GET(self) -> None:
        content = f"Hostname: webpod{self.server.server_address[0][-1]}\nIP: 127.0.0.1\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pods() -> Iterator[list[Target]]:
    servers = [ThreadingHTTPServer((f"127.0.0.{number}", 0), Whoami) for number in (1, 2, 3)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True).start()
    yield [Target(*server.server_address[:2]) for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def run(steps: Sequence[ScheduledRequest], start: float | None = None) -> tuple[schedule.StepAnswers, ...]:
    done = subprocess.run(
        schedule.argv(steps, TIMEOUTS, start), capture_output=True, text=True, check=False, timeout=20
    )
    assert not done.stderr
    return schedule.parse(done.stdout, steps)


@needs_curl
def test_steps_run_at_their_moments(pods: list[Target]) -> None:
    first, second = run([ScheduledRequest(0, tuple(pods)), ScheduledRequest(0.1, (pods[1],))])

    # Both are read from a clock that ticks every 0.01 s.
    assert 0.08 <= second.began - first.began < 1.0
    assert [answer.endpoint for answer in first.answers] == ["webpod1", "webpod2", "webpod3"]
    (answer,) = second.answers
    assert (answer.endpoint, answer.connects) == ("webpod2", 1)


@needs_curl
def test_moments_count_from_a_given_start(pods: list[Target]) -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])

    late, second = run([ScheduledRequest(0, (pods[0],)), ScheduledRequest(0.5, (pods[1],))], uptime - 0.2)

    assert uptime <= late.began
    assert 0.28 <= second.began - uptime < 1.5


@needs_curl
def test_answers_have_moments_on_the_clients_clock(pods: list[Target]) -> None:
    first, second = run([ScheduledRequest(0, tuple(pods)), ScheduledRequest(0.05, (pods[0],))])

    moments = [first.began]
    for answer in first.answers:
        moments += [answer.not_before, answer.not_after]
    (last,) = second.answers
    moments += [second.began, last.not_before, last.not_after]
    assert moments == sorted(moments)


@needs_curl
def test_several_requests_use_one_open_connection(pods: list[Target]) -> None:
    (step,) = run([ScheduledRequest(0, tuple(pods), rounds=3, keep_open=True, per_second=200)])

    assert [answer.connects for answer in step.answers] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert [answer.endpoint for answer in step.answers] == ["webpod1", "webpod2", "webpod3"] * 3


@needs_curl
def test_a_refused_connection_is_counted(pods: list[Target]) -> None:
    (step,) = run([ScheduledRequest(0, (Target("127.0.0.4", 1), pods[0]))])

    refused, answered = step.answers
    assert refused.error.startswith("curl 7")
    assert answered.ok


def test_arguments_are_data_and_never_program_text() -> None:
    words = schedule.argv([ScheduledRequest(1.5, (Target("10.200.1.5", 9000),))], TIMEOUTS)

    assert words[:4] == ["sh", "-c", schedule.SCRIPT, "schedule"]
    assert words[4:6] == ["", "150"]
    assert int(words[6]) == len(words) - 7
    assert schedule.argv([], TIMEOUTS, 12.345)[4:] == ["1234"]


def test_a_missing_step_is_an_error() -> None:
    with pytest.raises(TrafficError, match="ran 1 of 2 steps"):
        schedule.parse("@step 10.00\n@end 10.01\n", [ScheduledRequest(0, ()), ScheduledRequest(1, ())])


def test_no_output_is_an_error() -> None:
    with pytest.raises(TrafficError, match="ran 0 of 1 steps; it printed nothing"):
        schedule.parse("", [ScheduledRequest(0, ())])
