"""The options of curl, and reading its output."""

from __future__ import annotations

import json

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl
from session_affinity.traffic.answers import Target

SERVICE = Target("10.200.1.201", 9000)


def report(*, errormsg: str | None = None, **changes: object) -> str:
    fields = {
        "url_effective": "http://10.200.1.201:9000/?1",
        "http_code": 200,
        "exitcode": 0,
        "local_port": 35002,
        "num_connects": 1,
        "time_total": 0.001116,
    }
    return f"{curl.MARK}{json.dumps(fields | changes)} {errormsg or ''}"


def body(name: str) -> str:
    return f"Hostname: {name}\nIP: 10.10.2.2\nGET /?1 HTTP/1.1\r\nHost: 10.200.1.201:9000\r\n\r\n"


def test_an_answer_names_its_endpoint() -> None:
    (answer,) = curl.parse(f"{body('webpod2')}\n{report()}\n", 1)

    assert (answer.endpoint, answer.target, answer.local_port, answer.connects) == ("webpod2", SERVICE, 35002, 1)
    assert answer.ok


def test_a_failed_request_is_an_answer_with_an_error() -> None:
    text = (
        f"{body('webpod1')}\n{report()}\n\n{report(exitcode=28, errormsg='timed out', http_code=0, num_connects=0)}\n"
    )

    first, second = curl.parse(text, 2)

    assert first.ok
    assert not second.ok
    assert (second.endpoint, second.error) == (None, "curl 28: timed out")


@pytest.mark.parametrize(
    ("changes", "answered", "error"),
    [
        pytest.param({"http_code": 503}, "webpod1", "HTTP status 503", id="status"),
        pytest.param({}, "", "the answer names no host", id="no-host"),
        pytest.param({"exitcode": 56, "errormsg": None}, "webpod1", "curl 56: no message", id="reset"),
    ],
)
def test_an_answer_that_is_no_success_has_an_error(changes: dict[str, object], answered: str, error: str) -> None:
    text = f"{body(answered) if answered else 'hello'}\n{report(**changes)}\n"

    (answer,) = curl.parse(text, 1)

    assert answer.error == error
    assert not answer.ok


def test_an_endpoint_is_not_carried_over_to_the_next_answer() -> None:
    text = f"{body('webpod1')}\n{report()}\nnothing\n{report()}\n"

    _, second = curl.parse(text, 2)

    assert second.endpoint is None


def test_a_missing_report_is_an_error() -> None:
    with pytest.raises(TrafficError, match="reported 1 of 2 requests"):
        curl.parse(f"{body('webpod1')}\n{report()}\n", 2)


@pytest.mark.parametrize("text", ["{", '{"http_code": 200}', '{"url_effective": "http://[::1"}'])
def test_a_malformed_report_is_an_error(text: str) -> None:
    with pytest.raises(TrafficError, match="report of a request cannot be read"):
        curl.parse(f"{curl.MARK}{text}\n", 1)


def test_a_stamped_answer_began_between_the_answer_before_and_its_first_line() -> None:
    lines = [
        "100.00 ",
        "100.02 Hostname: webpod1",
        "100.02 IP: 10.10.1.2",
        "100.30 ",
        f"100.30 {report()}",
        "100.31 Hostname: webpod3",
        "100.33 ",
        f"100.33 {report()}",
    ]

    first, second = curl.parse("\n".join(lines) + "\n", 2)

    assert (first.endpoint, first.not_before, first.not_after) == ("webpod1", 100.00, 100.02)
    assert (second.endpoint, second.not_before, second.not_after) == ("webpod3", 100.02, 100.31)


def test_a_stamped_failure_has_the_moment_of_its_report() -> None:
    lines = ["100.00 ", "102.01 ", f"102.01 {report(exitcode=28, errormsg='timed out')}", "102.02 Hostname: webpod1"]

    first, second = curl.parse("\n".join([*lines, f"102.03 {report()}"]) + "\n", 2)

    assert (first.not_before, first.not_after) == (100.00, 102.01)
    assert (second.not_before, second.not_after) == (102.01, 102.02)


@pytest.mark.parametrize(
    "line",
    [
        "* connect to 10.200.1.201 port 9000 failed: Connection refused",
        "* connect to 10.200.1.201 port 9000 from 10.10.0.2 port 35002 failed: Connection refused",
        "* Immediate connect fail for 10.200.1.201: Connection refused",
    ],
)
def test_the_reason_belongs_to_one_failed_connection_only(line: str) -> None:
    failed = report(exitcode=7, errormsg="no connection", http_code=0, num_connects=0)
    text = f"{line}\n\n{failed}\n\n{failed}\n"

    first, second = curl.parse(text, 2)

    assert first.error == "curl 7: no connection (Connection refused)"
    assert second.error == "curl 7: no connection"


def test_each_request_opens_a_new_connection() -> None:
    options = curl.options(curl.RequestTimeouts())

    assert options[options.index("--header") + 1] == "Connection: close"
    assert "--rate" not in options


def test_requests_on_open_connections_have_a_rate() -> None:
    options = curl.options(curl.RequestTimeouts(), keep_open=True, per_second=4)

    assert "--header" not in options
    assert options[options.index("--rate") + 1] == "4/s"


def test_a_slow_machine_has_longer_timeouts() -> None:
    options = curl.options(curl.RequestTimeouts(2.0, 5.0).scaled(4))

    assert options[options.index("--connect-timeout") + 1] == "8"
    assert options[options.index("--max-time") + 1] == "20"


def test_urls_are_ranges() -> None:
    assert curl.urls([SERVICE, Target("fd00::5", 80)], count=20) == [
        "http://10.200.1.201:9000/?[1-20]",
        "http://[fd00::5]:80/?[1-20]",
    ]


def test_a_reused_connection_is_an_error() -> None:
    answers = curl.parse(f"{body('webpod1')}\n{report()}\n{body('webpod1')}\n{report(num_connects=0)}\n", 2)

    with pytest.raises(TrafficError, match=r"requests \[2\] of 2"):
        curl.require_new_connections(answers)
