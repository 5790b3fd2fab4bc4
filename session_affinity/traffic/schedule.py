"""Requests at given moments, timed where they are sent from.

What takes part of a second from here (starting a command in a pod) may take several on a slow machine. So the moments
are kept by a constant script in the pod, on the pod's clock; the data reaches it as arguments, never as program text.
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
"""Shell functions that tell the time of a pod and wait for one, in hundredths of a second of its uptime."""

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
hundredths; start=$now
while [ $# -gt 0 ]; do
  at=$1 count=$2; shift 2
  wait_until "$(( start + at ))"
  step "$count" "$@"
  shift "$count"
done
uptime; printf '@end %s\n' "$up"
"""
)
"""Takes, for each step: when (hundredths of a second after the start), how many arguments follow, curl's arguments."""

_STEP = re.compile(r"^@(?:step|end) (?P<uptime>\d+\.\d\d)$", re.MULTILINE)


@dataclass(frozen=True)
class ScheduledRequest:
    """A round of requests ``at`` seconds after the start of its schedule, one to each target.

    ``rounds`` above 1 asks every target as many times over; ``keep_open`` does so on connections that stay open;
    ``per_second`` spaces the requests evenly.
    """

    at: float
    targets: tuple[Target, ...]
    rounds: int = 1
    keep_open: bool = False
    per_second: int = 0

    @property
    def requests(self) -> int:
        """How many requests it sends."""
        return len(self.targets) * self.rounds

    def arguments(self, patience: curl.Patience) -> list[str]:
        """Return curl's arguments; the targets come in turn, round after round."""
        options = curl.options(patience, keep_open=self.keep_open, per_second=self.per_second)
        return [*options, *(url for _ in range(self.rounds) for url in curl.urls(self.targets))]


@dataclass(frozen=True)
class StepAnswers:
    """What came of a step, and when the client began it, in seconds of its uptime."""

    began: float
    answers: Answers


def argv(steps: Sequence[ScheduledRequest], patience: curl.Patience) -> list[str]:
    """Return the command that runs a schedule."""
    words: list[str] = []
    for step in steps:
        arguments = step.arguments(patience)
        words += [str(round(step.at * 100)), str(len(arguments)), *arguments]
    return ["sh", "-c", SCRIPT, "schedule", *words]


def parse(text: str, steps: Sequence[ScheduledRequest]) -> tuple[StepAnswers, ...]:
    """Read what the script printed; raises TrafficError when a step or a request is missing."""
    marks = list(_STEP.finditer(text))
    if len(marks) != len(steps) + 1:
        ran, said = max(len(marks) - 1, 0), text.strip()[-500:] or "nothing"
        raise TrafficError(f"the client ran {ran} of {len(steps)} steps; it said: {said}")
    return tuple(
        StepAnswers(float(mark["uptime"]), curl.parse(text[mark.end() : following.start()], step.requests))
        for step, mark, following in zip(steps, marks[:-1], marks[1:], strict=True)
    )
