"""Requests by curl: one process for a round, one JSON object in its output for each request.

Needs curl 7.88 or later in the client's image.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from session_affinity.errors import TrafficError
from session_affinity.traffic.answers import Answer, Answers, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MARK: Final = "@answer "
_FIELDS: Final = ("url_effective", "http_code", "exitcode", "local_ip", "local_port", "num_connects", "time_total")
TIMED_OUT: Final = "curl 28:"
"""How the error of an answer begins when nothing came back in time, neither an answer nor a refusal."""
_REPORT: Final = "{" + ",".join(f'"{name}":"%{{{name}}}"' for name in _FIELDS) + "} %{errormsg}"
"""What curl reports of a request: a JSON object, and the message of an error behind it, which may have any character.

``%{json}`` has ten times as much, and a shell reads a pipe byte by byte.
"""
_STAMPED = re.compile(r"(?P<uptime>\d+\.\d\d) (?P<line>.*)")
_REASON = re.compile(r"\* (?:connect to .* failed|Immediate connect fail for .*): (?P<reason>.+)")
"""Printed by curl --verbose for a connection that failed: refused, or no route."""


@dataclass(frozen=True)
class RequestTimeouts:
    """The timeouts of one request in seconds: for connecting, and in total."""

    connect: float = 2.0
    total: float = 5.0

    def scaled(self, factor: float) -> RequestTimeouts:
        """Return the same timeouts, each ``factor`` times as long."""
        return RequestTimeouts(self.connect * factor, self.total * factor)


def options(
    timeouts: RequestTimeouts, *, keep_open: bool = False, per_second: int = 0, on_stderr: bool = False
) -> list[str]:
    """Return the options: each request on a new connection unless ``keep_open``; no pause if ``per_second`` is 0.

    ``on_stderr`` prints the report of each request on standard error, with the reason if the connection failed. There
    it comes at once: on standard output curl buffers the report of a failed request until there is more output.
    """
    return [
        *("-q", "--silent", "--no-buffer", "--noproxy", "*"),
        *(("--verbose",) if on_stderr else ()),
        *("--connect-timeout", f"{timeouts.connect:g}", "--max-time", f"{timeouts.total:g}"),
        *("--write-out", f"{'%{stderr}' if on_stderr else ''}\\n{MARK}{_REPORT}\\n"),
        *(() if keep_open else ("--header", "Connection: close")),
        *(("--rate", f"{per_second}/s") if per_second else ()),
    ]


def urls(targets: Sequence[Target], *, count: int = 1) -> list[str]:
    """Return one URL for each target, a range of ``count`` requests."""
    return [f"http://{target}/?[1-{count}]" for target in targets]


def parse(text: str, expected: int) -> Answers:
    """Read curl's output for ``expected`` requests; raises TrafficError if it has another number of reports.

    Where lines begin with an uptime, as those of scripts do, they bound the moment of each answer: it began no later
    than its own first line, and no sooner than the answer before it.
    """
    answers = tuple(AnswerReader().feed(text.splitlines()))
    if len(answers) != expected:
        raise TrafficError(
            f"the client reported {len(answers)} of {expected} requests; {shown_output(text)}",
            next_step="check that the client's image has curl 7.88 or later",
        )
    return Answers(answers)


def shown_output(text: str) -> str:
    """Return the end of a command's output as error messages show it."""
    return f"its output ends with: {text.strip()[-500:]}" if text.strip() else "it printed nothing"


def require_new_connections(answers: Answers) -> Answers:
    """Return the answers; raises TrafficError if an answered request did not open a new connection."""
    reused = [number for number, answer in enumerate(answers, 1) if answer.ok and answer.connects != 1]
    if reused:
        raise TrafficError(
            f"requests {reused[:10]} of {len(answers)} did not open a new connection",
            next_step="check that the client's image has curl 7.88 or later",
        )
    return answers


class AnswerReader:
    """Reads the answers in curl's output, which may come in pieces of whole lines; see ``parse``."""

    def __init__(self) -> None:
        self._endpoint: str | None = None
        self._began: float | None = None
        self._previous: float | None = None
        self._stamp: float | None = None
        self._reason = ""

    def feed(self, lines: Iterable[str]) -> Iterator[Answer]:
        """Yield the answers that these lines complete; raises TrafficError if a report is malformed."""
        for printed in lines:
            stamped = _STAMPED.fullmatch(printed)
            line = stamped["line"] if stamped else printed
            if stamped:
                self._stamp = float(stamped["uptime"])
                self._previous = self._stamp if self._previous is None else self._previous
            if line.startswith(MARK):
                # A failed request has no lines before its report, so the report has its moment.
                ended = self._began if self._began is not None else self._stamp
                yield answer(line.removeprefix(MARK), self._endpoint, self._previous, ended, self._reason)
                self._endpoint, self._previous, self._began, self._reason = None, ended, None, ""
            elif failure := _REASON.fullmatch(line):
                self._reason = failure["reason"]
            elif line.strip() and self._began is None:
                self._began = self._stamp
                self._endpoint = host_of(line) or self._endpoint


def host_of(line: str) -> str | None:
    """Return the host name in a line of an answer; None if the line has none."""
    return line.partition(":")[2].strip() if line.startswith("Hostname:") else None


def answer(
    text: str,
    endpoint: str | None,
    not_before: float | None = None,
    not_after: float | None = None,
    reason: str = "",
) -> Answer:
    """Return an answer from curl's JSON report of one request; raises TrafficError if it is malformed.

    ``endpoint`` is the host name in the answer. ``reason`` is why the connection failed, empty if that is unknown.
    """
    try:
        report, message = read_report(text)
        url = urlsplit(report["url_effective"])
        target = Target(url.hostname or "", url.port or 80)
        status, exit_code = int(report["http_code"]), int(report["exitcode"])
        return Answer(
            target=target,
            endpoint=endpoint if exit_code == 0 else None,
            status=status,
            local_port=int(report["local_port"]),
            connects=int(report["num_connects"]),
            seconds=float(report["time_total"]),
            error=_error(exit_code, message, reason, status, endpoint),
            not_before=not_before,
            not_after=not_after,
            local_address=str(report.get("local_ip") or ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TrafficError(
            f"curl's report of a request cannot be read: {text[:300]!r} ({error!r})",
            next_step="check that the client's image has curl 7.88 or later",
        ) from error


def read_report(text: str) -> tuple[dict[str, Any], str]:
    """Return curl's report of one request, and the message of its error; raises ValueError if it is malformed."""
    report, end = json.JSONDecoder().raw_decode(text)
    if not isinstance(report, dict):
        raise ValueError(f"not a JSON object: {report!r}")  # noqa: TRY004 - the text is wrong, no argument is
    return report, text[end:].strip()


def _error(exit_code: int, message: str, reason: str, status: int, endpoint: str | None) -> str:
    if exit_code:
        return f"curl {exit_code}: {message or 'no message'}{f' ({reason})' if reason else ''}"
    if status != 200:
        return f"HTTP status {status}"
    return "" if endpoint else "the answer names no host"
