"""curl as the client: one process for a round of requests, one JSON object for each of them.

Needs curl 7.88 or later where the requests are sent from.
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
_STAMPED = re.compile(r"(?P<uptime>\d+\.\d\d) (?P<line>.*)")
_REASON = re.compile(r"\* (?:connect to .* failed|Immediate connect fail for .*): (?P<reason>.+)")
"""What curl says, if it is to say what it does, of a connection that did not come about: refused, or no route."""


@dataclass(frozen=True)
class Patience:
    """How long one request may take, in seconds: to connect, and altogether."""

    connect: float = 2.0
    total: float = 5.0

    def scaled(self, factor: float) -> Patience:
        """Return the same for a machine that is slower by a factor."""
        return Patience(self.connect * factor, self.total * factor)


def options(patience: Patience, *, keep_open: bool = False, per_second: int = 0, on_stderr: bool = False) -> list[str]:
    """Return the options: each request on a new connection unless ``keep_open``; no pause if ``per_second`` is 0.

    ``on_stderr`` has what it says of a request said there, at once, and with the reason of one that failed: on standard
    output curl keeps what it says of one that failed until there is more.
    """
    return [
        *("-q", "--silent", "--no-buffer", "--noproxy", "*"),
        *(("--verbose",) if on_stderr else ()),
        *("--connect-timeout", f"{patience.connect:g}", "--max-time", f"{patience.total:g}"),
        *("--write-out", f"{'%{stderr}' if on_stderr else ''}\\n{MARK}%{{json}}\\n"),
        *(() if keep_open else ("--header", "Connection: close")),
        *(("--rate", f"{per_second}/s") if per_second else ()),
    ]


def urls(targets: Sequence[Target], *, count: int = 1) -> list[str]:
    """Return one URL a target, each a range of ``count`` requests."""
    return [f"http://{target}/?[1-{count}]" for target in targets]


def parse(text: str, expected: int) -> Answers:
    """Read what curl printed for ``expected`` requests; raises TrafficError when it is not that.

    Lines that begin with an uptime (the timed script puts one before each) date the answers: an answer came no later
    than its own first line, and no sooner than the one before it.
    """
    answers = tuple(_answers(text.splitlines()))
    if len(answers) != expected:
        raise TrafficError(
            f"the client reported {len(answers)} of {expected} requests; it said: {text.strip()[-500:] or 'nothing'}",
            next_step="see whether the client's curl is 7.88 or later",
        )
    return Answers(answers)


def require_new_connections(answers: Answers) -> Answers:
    """Return the answers; raises TrafficError when one came over a connection that was open already."""
    reused = [number for number, answer in enumerate(answers, 1) if answer.ok and answer.connects != 1]
    if reused:
        raise TrafficError(f"requests {reused[:10]} of {len(answers)} did not open a connection of their own")
    return answers


def _answers(lines: Iterable[str]) -> Iterator[Answer]:
    endpoint, began, previous, stamp, reason = None, None, None, None, ""
    for printed in lines:
        stamped = _STAMPED.fullmatch(printed)
        line = stamped["line"] if stamped else printed
        if stamped:
            stamp = float(stamped["uptime"])
            previous = stamp if previous is None else previous
        if line.startswith(MARK):
            # A request that failed printed nothing of its own, so its line is what dates it.
            ended = began if began is not None else stamp
            yield answer(line.removeprefix(MARK), endpoint, previous, ended, reason)
            endpoint, previous, began, reason = None, ended, None, ""
        elif said := _REASON.fullmatch(line):
            reason = said["reason"]
        elif line.strip() and began is None:
            began = stamp
            endpoint = host_of(line) or endpoint


def host_of(line: str) -> str | None:
    """Return the host that an answer's line names; None where it is another line."""
    return line.partition(":")[2].strip() if line.startswith("Hostname:") else None


def answer(
    text: str,
    endpoint: str | None,
    not_before: float | None = None,
    not_after: float | None = None,
    reason: str = "",
) -> Answer:
    """Read what curl reports of one request, answered by an endpoint or by none; raises TrafficError.

    ``reason`` is why there was no connection, where it was told.
    """
    try:
        said: dict[str, Any] = json.loads(text)
        url = urlsplit(said["url_effective"])
        target = Target(url.hostname or "", url.port or 80)
        status, exit_code = int(said["http_code"]), int(said["exitcode"])
        return Answer(
            target=target,
            endpoint=endpoint if exit_code == 0 else None,
            status=status,
            local_port=int(said["local_port"]),
            connects=int(said["num_connects"]),
            seconds=float(said["time_total"]),
            error=_error(exit_code, said.get("errormsg"), reason, status, endpoint),
            not_before=not_before,
            not_after=not_after,
            local_address=str(said.get("local_ip") or ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TrafficError(f"curl said what is no answer: {text[:300]!r} ({error!r})") from error


def _error(exit_code: int, message: str | None, reason: str, status: int, endpoint: str | None) -> str:
    if exit_code:
        return f"curl {exit_code}: {message or 'no message'}{f' ({reason})' if reason else ''}"
    if status != 200:
        return f"HTTP status {status}"
    return "" if endpoint else "the answer names no host"
