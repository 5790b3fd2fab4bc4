"""Requests that go on until they are told to stop, seen while they are answered.

What a client sees of a change is between the requests before it and those after it. So they are sent all the time, and
whoever makes the change looks at the answers that have come rather than guess how long they take.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.kube.pod_stream import PodStream
    from session_affinity.traffic.answers import Answers, Target

SCRIPT: Final = r"""
exec 3<&0 </dev/null
trap 'stop=yes' TERM
{ read -r line <&3; kill -TERM $$; } &
stamped() {
  while IFS= read -r line; do
    case $line in @answer*|Hostname:*|'* connect to '*|'* Immediate connect '*|'') ;; *) continue;; esac
    read -r up idle </proc/uptime
    printf '%s %s\n' "$up" "$line"
  done
}
while [ -z "$stop" ]; do
  { printf '\n'; curl "$@" 2>&1; } | stamped
done
"""
"""Runs curl again and again until a line comes, and puts the uptime before each line that tells of an answer."""

BATCH: Final = 5
"""Requests a curl: the one that runs when the script is told to stop is waited for."""
PER_SECOND: Final = 20
_LAST_LINE: Final = re.compile(rf"^\d+\.\d\d {re.escape(curl.MARK)}", re.MULTILINE)


def argv(target: Target, patience: curl.Patience) -> list[str]:
    """Return the command that asks a target, one new connection after another."""
    options = curl.options(patience, per_second=PER_SECOND, on_stderr=True)
    return ["sh", "-c", SCRIPT, "stream", *options, *curl.urls([target], count=BATCH)]


def parse(text: str) -> Answers:
    """Read the answers that have come so far; raises TrafficError on what is none."""
    return curl.parse(text, len(_LAST_LINE.findall(text)))


class Stream:
    """One target asked again and again by one client. For one thread.

    ``patience`` is what one request may take, in seconds. Moments are seconds of the client's uptime.
    """

    def __init__(self, target: Target, running: PodStream, patience: float) -> None:
        self.target = target
        self._running = running
        self._patience = patience

    def answers(self) -> Answers:
        """Return the answers that have come so far."""
        return parse(self._running.read(0))

    def wait_for(self, enough: Callable[[Answers], bool], seconds: float) -> Answers:
        """Wait until the answers are enough and return them; raises TrafficError with the last ones seen."""
        answers: Answers

        def are_enough() -> bool:
            nonlocal answers
            answers = parse(self._running.read())
            return enough(answers)

        if not poll(are_enough, seconds, pause=0):
            raise TrafficError(
                f"{self.target}: what was waited for did not come in {seconds:.0f} s; {answers.summary()}",
                next_step=f"see whether the client pod runs; {SLOW_MACHINE}",
            )
        return answers

    def stop(self) -> Answers:
        """Stop and return all answers, each to a connection of its own; raises TrafficError."""
        return curl.require_new_connections(parse(self._running.end(self._patience * (BATCH + 1))))

    def abandon(self) -> None:
        """Stop without asking what came."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()


def since(answers: Answers, moment: float) -> Answers:
    """Return the answers to requests that were sent after a moment for certain."""
    return type(answers)(tuple(one for one in answers if (one.not_before or 0.0) >= moment))
