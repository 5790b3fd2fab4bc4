"""Requests whose connections are all open at the same time, and proof that they were.

Each asks its endpoint to hold the answer back for a while (traefik/whoami's ``?wait=``). If all of them, each that
long, fit into less than twice that while, then every one was open in the middle of it: so they were open at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl
from session_affinity.traffic.answers import Answers

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
"""Takes curl's arguments. Answers go to files of their own: on one stream they would mix."""

_MOMENT: Final = re.compile(r"^@(?P<what>began|ended) (?P<uptime>\d+\.\d\d)$", re.MULTILINE)
_BODY: Final = re.compile(r"^@body (?P<number>\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class AtOnce:
    """Answers over connections that were all open at the same time, and the seconds from the first to the last."""

    answers: Answers
    seconds: float


def argv(target: Target, count: int, hold_seconds: float, patience: curl.Patience) -> list[str]:
    """Return the command that sends ``count`` requests at once, each to be answered after ``hold_seconds``."""
    waiting = curl.Patience(patience.connect, patience.total + hold_seconds)
    parallel = ("--no-progress-meter", "--parallel", "--parallel-immediate", "--parallel-max", str(count))
    url = f"http://{target}/?wait={hold_seconds:g}s&number=[1-{count}]"
    arguments = (*curl.options(waiting), *parallel, "--output", "#1", url)
    return ["sh", "-c", SCRIPT, "at-once", *arguments]


def parse(text: str, count: int, hold_seconds: float) -> AtOnce:
    """Read what the script printed; raises TrafficError when requests are missing or were not open all at once."""
    moments = {one["what"]: float(one["uptime"]) for one in _MOMENT.finditer(text)}
    bodies = _bodies(text)
    reports = [line.removeprefix(curl.MARK) for line in text.splitlines() if line.startswith(curl.MARK)]
    if moments.keys() != {"began", "ended"} or len(reports) != count:
        raise TrafficError(
            f"the client reported {len(reports)} of {count} requests; it said: {text.strip()[-500:] or 'nothing'}",
            next_step="see whether the client's image has curl 7.88 or later, mktemp, cat and rm",
        )
    answers = Answers(tuple(curl.answer(one, bodies.get(_number(one))) for one in reports))
    seconds = moments["ended"] - moments["began"]
    _require_at_once(answers, seconds, hold_seconds)
    return AtOnce(curl.require_new_connections(answers), seconds)


def _require_at_once(answers: Answers, seconds: float, hold_seconds: float) -> None:
    """Raise TrafficError unless the answers prove that all connections were open at the same time.

    One that failed proves nothing, and needs to prove nothing.
    """
    early = [answer for answer in answers if answer.ok and answer.seconds < hold_seconds]
    if early:
        raise TrafficError(
            f"{len(early)} of {len(answers)} requests were answered before the {hold_seconds:g} s they asked to wait",
            next_step="the endpoints' image has to be traefik/whoami, or wait like it for ?wait=1s",
        )
    if not answers.failures and seconds >= 2 * hold_seconds:
        raise TrafficError(
            f"{len(answers)} requests of {hold_seconds:g} s took {seconds:.2f} s: they were not all open at once",
            next_step="on a slow machine raise --deadline-scale",
        )


def _bodies(text: str) -> dict[str, str | None]:
    """Return the host that each answer names, by the request's number."""
    _, *parts = _BODY.split(text)
    found: dict[str, str | None] = {}
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        hosts = (curl.host_of(line) for line in body.splitlines())
        found[number] = next(filter(None, hosts), None)
    return found


def _number(report: str) -> str:
    found = re.search(r"[?&]number=(\d+)", report)
    return found[1] if found else ""
