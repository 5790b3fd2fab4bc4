"""A stream of requests that runs until it is stopped; its answers can be read while it runs.

Requests are sent all the time, so that some are under way during a change. The caller that makes the change waits until
there are enough answers, instead of a fixed time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from session_affinity.errors import TrafficError
from session_affinity.traffic import curl
from session_affinity.traffic.answers import Answers
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.kube.pod_stream import PodStream
    from session_affinity.traffic.answers import Answer, Target

SCRIPT: Final = r"""
pause=$1; shift
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
  { printf '\n'; curl "$@" 2>&1 || sleep "$pause"; } | stamped
done
"""
"""Runs curl again and again until it reads a line; prints the uptime before each line that belongs to an answer.

Takes the pause after a failed request, with which curl ends, in seconds; then the arguments of curl.
"""

BATCH: Final = 20
"""Requests of one curl: the script stops only after the running curl has ended, and starting one takes more processor
time than several requests."""
PER_SECOND: Final = 20


def argv(target: Target, timeouts: curl.RequestTimeouts) -> list[str]:
    """Return the command that sends requests to a target, one new connection after another."""
    options = curl.options(timeouts, per_second=PER_SECOND, on_stderr=True)
    urls = curl.urls([target], count=BATCH)
    return ["sh", "-c", SCRIPT, "stream", f"{1 / PER_SECOND:g}", *options, "--fail-early", *urls]


def parse(text: str) -> Answers:
    """Read the answers so far from the script's output; raises TrafficError if a report is malformed."""
    return Answers(tuple(curl.AnswerReader().feed(text[: text.rfind("\n") + 1].splitlines())))


class Stream:
    """A stream of requests of one client to one target. For one thread.

    ``request_seconds`` is the timeout of one request. Moments are seconds of the client's uptime.
    """

    def __init__(self, target: Target, command: PodStream, request_seconds: float) -> None:
        self.target = target
        self._command = command
        self._request_seconds = request_seconds
        self._reader = curl.AnswerReader()
        self._answers: list[Answer] = []
        self._length = 0

    def answers(self) -> Answers:
        """Return the answers so far."""
        return self._read(self._command.read(0))

    def wait_for(self, enough: Callable[[Answers], bool], seconds: float) -> Answers:
        """Wait until the answers are enough and return them; raises TrafficError with the last answers."""
        answers: Answers

        def are_enough() -> bool:
            nonlocal answers
            answers = self._read(self._command.read())
            return enough(answers)

        if not poll(are_enough, seconds, pause=0):
            raise TrafficError(
                f"{self.target}: too few answers after {seconds:.0f} s; {answers.summary()}",
                next_step=f"check that the client's pod runs; {SLOW_MACHINE}",
            )
        return answers

    def end(self) -> None:
        """Have the stream end soon, without waiting for that."""
        self._command.stop()

    def stop(self) -> Answers:
        """Stop and return all answers; raises TrafficError if a request did not open a new connection."""
        return curl.require_new_connections(self._read(self._command.end(self._request_seconds * (BATCH + 1))))

    def abandon(self) -> None:
        """Stop without reading the remaining answers."""
        self._command.close()

    def _read(self, text: str) -> Answers:
        """Return the answers in the output so far, of which only new lines are read: it is long, and read often."""
        complete = text.rfind("\n") + 1
        self._answers += self._reader.feed(text[self._length : complete].splitlines())
        self._length = complete
        return Answers(tuple(self._answers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()


def since(answers: Answers, moment: float) -> Answers:
    """Return the answers to requests that were certainly sent after a moment, in seconds of the client's uptime."""
    return type(answers)(tuple(answer for answer in answers if (answer.not_before or 0.0) >= moment))
