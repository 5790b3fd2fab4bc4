"""Requests over connections that are all open at the same time, with proof that they were.

Each request makes its endpoint wait before it answers (``?wait=`` of traefik/whoami). If all requests together take
less than twice that time, every connection was open in the middle of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl
from session_affinity.traffic.answers import Answers
from session_affinity.waiting import SLOW_MACHINE

if TYPE_CHECKING:
    from session_affinity.traffic.answers import Target

SCRIPT: Final = r"""
uptime() { read -r up idle < /proc/uptime; printf '@%s %s\n' "$1" "$up"; }
place=$(mktemp -d) && cd "$place" || exit 126
uptime began
curl "$@"
uptime ended
for file in *; do printf '\n@body %s\n' "$file"; cat "$file"; done
cd / && rm -r "$place"
"""
"""Takes the arguments of curl. Each answer is written to its own file: on one stream they would mix."""

_MOMENT: Final = re.compile(r"^@(?P<what>began|ended) (?P<uptime>\d+\.\d\d)$", re.MULTILINE)
_BODY: Final = re.compile(r"^@body (?P<number>\d+)$", re.MULTILINE)


class NotAtOnceError(TrafficError):
    """Connections were not all open at the same time, or it is not certain that they were; ``answers`` are theirs."""

    def __init__(self, what: str, answers: Answers) -> None:
        super().__init__(what, next_step=SLOW_MACHINE)
        self.answers = answers


@dataclass(frozen=True)
class SimultaneousAnswers:
    """Answers over connections that were all open at the same time, and the duration of the whole round in seconds.

    ``answers`` begin with those of rounds whose connections were not.
    """

    answers: Answers
    seconds: float


def argv(target: Target, count: int, wait_seconds: float, timeouts: curl.RequestTimeouts) -> list[str]:
    """Return the command that sends ``count`` requests at once; endpoints answer each after ``wait_seconds``."""
    longer = curl.RequestTimeouts(timeouts.connect, timeouts.total + wait_seconds)
    parallel = ("--no-progress-meter", "--parallel", "--parallel-immediate", "--parallel-max", str(count))
    url = f"http://{target}/?wait={wait_seconds:g}s&number=[1-{count}]"
    arguments = (*curl.options(longer), *parallel, "--output", "#1", url)
    return ["sh", "-c", SCRIPT, "at-once", *arguments]


def parse(text: str, count: int, wait_seconds: float) -> SimultaneousAnswers:
    """Read the script's output; raises TrafficError if requests are missing, NotAtOnceError if they were too late."""
    moments = {moment["what"]: float(moment["uptime"]) for moment in _MOMENT.finditer(text)}
    bodies = _bodies(text)
    reports = [line.removeprefix(curl.MARK) for line in text.splitlines() if line.startswith(curl.MARK)]
    if moments.keys() != {"began", "ended"} or len(reports) != count:
        raise TrafficError(
            f"the client reported {len(reports)} of {count} requests; {curl.shown_output(text)}",
            next_step="check that the client's image has curl 7.88 or later, mktemp, cat and rm",
        )
    answers = Answers(tuple(curl.answer(report, bodies.get(_number(report))) for report in reports))
    seconds = moments["ended"] - moments["began"]
    _require_at_once(answers, seconds, wait_seconds)
    return SimultaneousAnswers(curl.require_new_connections(answers), seconds)


def _require_at_once(answers: Answers, seconds: float, wait_seconds: float) -> None:
    """Raise NotAtOnceError unless the answers prove that all connections were open at the same time.

    Nothing is required of failed requests: the judge finds them.
    """
    early = [answer for answer in answers if answer.ok and answer.seconds < wait_seconds]
    if early:
        raise TrafficError(
            f"{len(early)} of {len(answers)} requests were answered before the requested wait of {wait_seconds:g} s",
            next_step="use traefik/whoami as the image of the endpoints, or a server that waits for ?wait=1s",
        )
    if not answers.failures and seconds >= 2 * wait_seconds:
        raise NotAtOnceError(
            f"{len(answers)} requests of {wait_seconds:g} s took {seconds:.2f} s: they were not all open at once",
            answers,
        )


def _bodies(text: str) -> dict[str, str | None]:
    """Return the host name in each answer, by the number of the request."""
    _, *parts = _BODY.split(text)
    host_by_number: dict[str, str | None] = {}
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        hosts = (curl.host_of(line) for line in body.splitlines())
        host_by_number[number] = next(filter(None, hosts), None)
    return host_by_number


def _number(report: str) -> str:
    number = re.search(r"[?&]number=(\d+)", report)
    return number[1] if number else ""
