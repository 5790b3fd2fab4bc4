"""Requests at once: the command, its output, and the proof that all connections were open at once."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import at_once, curl
from session_affinity.traffic.answers import Target

if TYPE_CHECKING:
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
