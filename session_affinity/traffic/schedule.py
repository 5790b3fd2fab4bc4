"""Requests at scheduled moments, timed in the client's pod.

Starting a command in a pod takes part of a second, but several seconds on a slow machine. So a constant script in the
pod waits for each moment on the pod's clock; its data are arguments, never program text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.traffic.answers import Answers, Target

CLOCK: Final = r"""
uptime() { read -r up idle < /proc/uptime; }
hundredths() { uptime; whole=${up%.*} part=${up#*.}; now=$(( whole * 100 + 1$part - 100 )); }
wait_until() {
  hundredths; left=$(( $1 - now ))
  if [ "$left" -gt 0 ]; then
    part=$(( left % 100 )); [ "$part" -ge 10 ] || part=0$part
    sleep "$(( left / 100 )).$part"
  fi
}
"""
"""Shell functions that read a pod's uptime and wait for a moment of it, in hundredths of a second."""

SCRIPT: Final = (
    CLOCK
    + r"""
stamped() { while IFS= read -r line; do uptime; printf '%s %s\n' "$up" "$line"; done; }
step() {
  count=$1; shift; taken=0; given=$#
  for argument do
    if [ "$taken" -lt "$count" ]; then set -- "$@" "$argument"; taken=$(( taken + 1 )); fi
  done
  shift "$given"
  uptime; printf '@step %s\n' "$up"
  { printf '\n'; curl "$@"; } | stamped
}
hundredths; start=${1:-$now}; shift
while [ $# -gt 0 ]; do
  at=$1 count=$2; shift 2
  wait_until "$(( start + at ))"
  step "$count" "$@"
  shift "$count"
done
uptime; printf '@end %s\n' "$up"
"""
)
"""Takes the start in hundredths of a second of the uptime, empty for now, and for each step: its moment in hundredths
of a second after the start, the number of arguments for curl, and these arguments."""

_STEP = re.compile(r"^@(?:step|end) (?P<uptime>\d+\.\d\d)$", re.MULTILINE)


@dataclass(frozen=True)
class ScheduledRequest:
    """A round of requests ``at`` seconds after the start of its schedule, one to each target.

    The targets are repeated ``rounds`` times, with ``keep_open`` on connections that stay open. ``per_second`` is the
    rate of the requests; 0 sends them without pauses.
    """

    at: float
    targets: tuple[Target, ...]
    rounds: int = 1
    keep_open: bool = False
    per_second: int = 0

    @property
    def requests(self) -> int:
        """The number of requests of the round."""
        return len(self.targets) * self.rounds

    def arguments(self, timeouts: curl.RequestTimeouts) -> list[str]:
        """Return the arguments of curl: the targets in turn, round after round."""
        options = curl.options(timeouts, keep_open=self.keep_open, per_second=self.per_second)
        return [*options, *(url for _ in range(self.rounds) for url in curl.urls(self.targets))]


@dataclass(frozen=True)
class StepAnswers:
    """The answers of a step, and the moment at which the client began it, in seconds of its uptime."""

    began: float
    answers: Answers


def argv(steps: Sequence[ScheduledRequest], timeouts: curl.RequestTimeouts, start: float | None = None) -> list[str]:
    """Return the command that runs a schedule; ``start`` is in seconds of the client's uptime, None for now."""
    words = ["" if start is None else str(round(start * 100))]
    for step in steps:
        arguments = step.arguments(timeouts)
        words += [str(round(step.at * 100)), str(len(arguments)), *arguments]
    return ["sh", "-c", SCRIPT, "schedule", *words]


def parse(text: str, steps: Sequence[ScheduledRequest]) -> tuple[StepAnswers, ...]:
    """Read the script's output; raises TrafficError if a step or the report of a request is missing."""
    marks = list(_STEP.finditer(text))
    if len(marks) != len(steps) + 1:
        raise TrafficError(
            f"the client ran {max(len(marks) - 1, 0)} of {len(steps)} steps; {curl.shown_output(text)}",
            next_step="check that the client's pod still runs, and that its image has sh and curl 7.88 or later",
        )
    return tuple(
        StepAnswers(float(mark["uptime"]), curl.parse(text[mark.end() : following.start()], step.requests))
        for step, mark, following in zip(steps, marks[:-1], marks[1:], strict=True)
    )
