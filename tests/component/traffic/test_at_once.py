"""Requests at once: the command, what it printed, and whether they were."""

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
    said = {
        "url_effective": f"http://{TARGET}/?wait=1s&number={number}",
        "http_code": 0 if exit_code else 200,
        "exitcode": exit_code,
        "errormsg": "timed out" if exit_code else None,
        "local_port": 40000 + number,
        "num_connects": 1,
        "time_total": seconds,
    }
    return f"\n{curl.MARK}{json.dumps(said)}\n"


def body(number: int, host: str) -> str:
    return f"\n@body {number}\nHostname: {host}\nIP: 127.0.0.1\n"


def said(*parts: str, began: float = 100.0, ended: float = 101.1) -> str:
    reports = [part for part in parts if not part.startswith("\n@body")]
    bodies = [part for part in parts if part.startswith("\n@body")]
    return f"@began {began:.2f}\n{''.join(reports)}@ended {ended:.2f}\n{''.join(bodies)}"


def test_answers_are_told_apart_whatever_order_they_end_in() -> None:
    text = said(report(2), report(1), body(1, "webpod1"), body(2, "webpod3"))

    found = at_once.parse(text, 2, 1.0)

    assert [(one.local_port, one.endpoint) for one in found.answers] == [(40002, "webpod3"), (40001, "webpod1")]
    assert found.seconds == pytest.approx(1.1)


def test_a_request_that_failed_is_an_answer_with_an_error() -> None:
    found = at_once.parse(said(report(1), report(2, 6.0, 28), body(1, "webpod1"), ended=106.0), 2, 1.0)

    assert [one.ok for one in found.answers] == [True, False]
    assert found.answers.failures[0].error == "curl 28: timed out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(said(report(1), body(1, "w")), "reported 1 of 2", id="one is missing"),
        pytest.param("sh: mktemp: not found", "said: sh: mktemp", id="no program"),
        pytest.param(
            said(report(1), report(2, 0.01), body(1, "w"), body(2, "w")), "1 of 2 .* before the 1 s", id="early"
        ),
        pytest.param(
            said(report(1), report(2), body(1, "w"), body(2, "w"), ended=102.0), "took 2.00 s", id="one after the other"
        ),
    ],
)
def test_what_proves_nothing_is_no_answer(text: str, message: str) -> None:
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
    words = at_once.argv(TARGET, 2, 1.0, curl.Patience())
    path = f"{tmp_path}:{os.defpath}"
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PATH": path, "TMPDIR": str(tmp_path)}
    )

    found = at_once.parse(done.stdout, 2, 1.0)

    assert [one.endpoint for one in found.answers] == ["webpod2", "webpod1"]
    assert [file.name for file in tmp_path.iterdir()] == ["curl"]
    assert words[-1] == f"http://{TARGET}/?wait=1s&number=[1-2]"
