"""Requests at once: the command, its output, and the proof that all connections were open at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import at_once, curl
from session_affinity.traffic.answers import Target
from session_affinity.traffic.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TARGET = Target("10.200.1.17", 9000)


def report(number: int, seconds: float = 1.01, exit_code: int = 0) -> str:
    fields = {
        "url_effective": f"http://{TARGET}/?wait=1s&number={number}",
        "http_code": 0 if exit_code else 200,
        "exitcode": exit_code,
        "local_port": 40000 + number,
        "num_connects": 1,
        "time_total": seconds,
    }
    return f"\n{curl.MARK}{json.dumps(fields)} {'timed out' if exit_code else ''}\n"


def body(number: int, host: str) -> str:
    return f"\n@body {number}\nHostname: {host}\nIP: 127.0.0.1\n"


def output(*parts: str, began: float = 100.0, ended: float = 101.1) -> str:
    reports = [part for part in parts if not part.startswith("\n@body")]
    bodies = [part for part in parts if part.startswith("\n@body")]
    return f"@began {began:.2f}\n{''.join(reports)}@ended {ended:.2f}\n{''.join(bodies)}"


def test_answers_are_matched_with_their_requests_in_any_order() -> None:
    text = output(report(2), report(1), body(1, "webpod1"), body(2, "webpod3"))

    simultaneous = at_once.parse(text, 2, 1.0)

    assert [(answer.local_port, answer.endpoint) for answer in simultaneous.answers] == [
        (40002, "webpod3"),
        (40001, "webpod1"),
    ]
    assert simultaneous.seconds == pytest.approx(1.1)


def test_a_request_that_failed_is_an_answer_with_an_error() -> None:
    simultaneous = at_once.parse(output(report(1), report(2, 6.0, 28), body(1, "webpod1"), ended=106.0), 2, 1.0)

    assert [answer.ok for answer in simultaneous.answers] == [True, False]
    assert simultaneous.answers.failures[0].error == "curl 28: timed out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(output(report(1), body(1, "w")), "reported 1 of 2", id="missing"),
        pytest.param("sh: mktemp: not found", "its output ends with: sh: mktemp", id="no program"),
        pytest.param(
            output(report(1), report(2, 0.01), body(1, "w"), body(2, "w")),
            "1 of 2 .* before the requested wait of 1 s",
            id="early",
        ),
        pytest.param(
            output(report(1), report(2), body(1, "w"), body(2, "w"), ended=102.0), "took 2.00 s", id="in turn"
        ),
    ],
)
def test_output_without_proof_is_an_error(text: str, message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        at_once.parse(text, 2, 1.0)


def test_the_script_sorts_answers_into_files(tmp_path: Path) -> None:
    """With a stand-in for curl that writes two answers and reports them the other way round."""
    stand_in = tmp_path / "curl"
    stand_in.write_text(
        "#!/bin/sh\n"
        "printf 'Hostname: webpod1\\n' >1; printf 'Hostname: webpod2\\n' >2\n"
        f"cat <<'EOF'{report(2)}{report(1)}EOF\n"
    )
    stand_in.chmod(0o755)
    words = at_once.argv(TARGET, 2, 1.0, curl.RequestTimeouts())
    path = f"{tmp_path}:{os.defpath}"
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PATH": path, "TMPDIR": str(tmp_path)}
    )

    simultaneous = at_once.parse(done.stdout, 2, 1.0)

    assert [answer.endpoint for answer in simultaneous.answers] == ["webpod2", "webpod1"]
    assert [file.name for file in tmp_path.iterdir()] == ["curl"]
    assert words[-1] == f"http://{TARGET}/?wait=1s&number=[1-2]"


class Api:
    """The API of a pod whose client prints one output after another; ``waits`` are how long it had endpoints wait."""

    def __init__(self, *outputs: str) -> None:
        self.outputs = list(outputs)
        self.waits: list[str] = []

    def run(self, _: str, __: str, argv: Sequence[str], **___: object) -> SimpleNamespace:
        self.waits += re.findall(r"wait=(\w+)", argv[-1])
        return SimpleNamespace(returncode=0, stdout=self.outputs.pop(0), stderr="")


LATE = output(report(1), report(2), body(1, "webpod2"), body(2, "webpod1"), ended=102.5)
"""The requests took 2.5 s."""


def in_pod(api: Any) -> Client:
    return Client(api, "default", "net-pod", "10.10.0.9", "worker")


def test_connections_that_were_not_open_at_once_are_followed_by_more_that_wait_longer() -> None:
    """The answers on the first ones count too: they are as good a proof against the cluster."""
    reports = [report(number, seconds=2.01) for number in (1, 2)]
    api = Api(LATE, output(*reports, body(1, "webpod1"), body(2, "webpod1"), ended=102.5))

    seen = in_pod(api).request_at_once(TARGET, 2)

    assert [answer.endpoint for answer in seen.answers] == ["webpod2", "webpod1", "webpod1", "webpod1"]
    assert (seen.seconds, api.waits) == (2.5, ["1s", "2s"])


def test_a_machine_that_is_never_fast_enough_is_an_error() -> None:
    late = LATE.replace("@ended 102.50", "@ended 190.00").replace('"time_total": 1.01', '"time_total": 9.0')
    api = Api(*[late] * 3)

    with pytest.raises(TrafficError, match=r"2 requests of 4 s took 90.00 s: they were not all open at once"):
        in_pod(api).request_at_once(TARGET, 2)
    assert api.waits == ["1s", "2s", "4s"]
