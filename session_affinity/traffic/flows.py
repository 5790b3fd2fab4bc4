"""Flows of datagrams that go on until they are stopped, each on a socket of its own; answers can be read meanwhile.

To conntrack each socket is one flow, and its entry lives as long as datagrams are sent: a flow stays with the endpoint
of its first datagram until something removes the entry. Needs bash 4.4 and cat in the client's image.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Self

from session_affinity.errors import TrafficError
from session_affinity.traffic import datagrams
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.schedule import CLOCK
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.kube.pod_stream import PodStream

PAUSE_SECONDS: Final = 0.4
"""The pause of a flow between an answer, or the lack of it, and its next datagram."""
SCRIPT: Final = (
    CLOCK
    + r"""
exec 3<&0 </dev/null
trap 'kill $(jobs -p) 2>/dev/null; exit 0' TERM
{ read -r line <&3; kill -TERM $$; } &
limit=$1 pause=$2; shift 2
listen() { exec {from}< <(exec cat <&"$socket"); reader=$!; }
hear() {
  IFS= read -r -t "$limit" line <&"$from" && return
  [ $? -gt 128 ] || { exec {from}<&-; listen; }
  return 1
}
exchange() {
  while read -t 0 <&"$from" && hear; do :; done
  printf x >&"$socket" && hear
} 2>/dev/null
flow() {
  trap 'kill "$reader" 2>/dev/null; exit 0' TERM
  exec {socket}<>"/dev/udp/$1/$2" {never}<> <(:) || exit 1
  listen 2>/dev/null
  while :; do
    uptime; sent=$up
    exchange || line=
    uptime; printf '@flow %s %s %s %s %s\n' "$1" "$2" "$sent" "$up" "$line"
    read -r -t "$pause" <&"$never"
  done
}
while [ $# -gt 0 ]; do
  flow "$1" "$2" 3<&- &
  shift 2
done
wait
"""
)
"""Takes the timeout of an answer and the pause in seconds, then an address and a port for each flow.

A cat for each socket takes a datagram in one read: bash's own read takes a byte, and the kernel drops what is left of
the datagram. It ends when a port is refused, and another begins. What came too late for its datagram is read before the
next one is sent.
"""

_LINE: Final = re.compile(r"^@flow (?P<address>\S+) (?P<port>\d+) (?P<answer>\d+\.\d\d \d+\.\d\d .*)$", re.MULTILINE)


def argv(targets: Sequence[Target], timeout: float, pause: float = PAUSE_SECONDS) -> list[str]:
    """Return the command that sends datagrams to each target on a socket of its own until it reads a line."""
    words = [word for target in targets for word in (target.address, str(target.port))]
    return ["bash", "-c", SCRIPT, "flows", str(math.ceil(timeout)), f"{pause:g}", *words]


def parse(text: str, targets: Sequence[Target]) -> dict[Target, Answers]:
    """Return the answers of each flow so far, in the order of its datagrams."""
    answers: dict[Target, list[Answer]] = {target: [] for target in targets}
    for line in _LINE.finditer(text):
        target = Target(line["address"], int(line["port"]))
        answers[target].append(datagrams.answer(target, line["answer"]))
    return {target: Answers(tuple(of_flow)) for target, of_flow in answers.items()}


class Flows:
    """Flows of one client, one to each target. For one thread.

    ``answer_seconds`` is the timeout of an answer. Moments are seconds of the client's uptime.
    """

    def __init__(self, targets: Sequence[Target], command: PodStream, answer_seconds: float) -> None:
        self.targets = tuple(targets)
        self._command = command
        self._answer_seconds = answer_seconds

    def wait_for(self, enough: Callable[[Mapping[Target, Answers]], bool], seconds: float) -> dict[Target, Answers]:
        """Wait until the answers of the flows are enough and return them; raises TrafficError with the last ones."""
        answers: dict[Target, Answers] = {}

        def are_enough() -> bool:
            answers.update(parse(self._command.read(), self.targets))
            return enough(answers)

        if not poll(are_enough, seconds, pause=0):
            last = "; ".join(f"{target}: {of_flow.summary()}" for target, of_flow in answers.items())
            raise TrafficError(
                f"too few answers to datagrams after {seconds:.0f} s; {last}",
                next_step=f"check that the client's image has bash 4.4 and cat; {SLOW_MACHINE}",
            )
        return answers

    def stop(self) -> dict[Target, Answers]:
        """End the flows and return all answers; raises ExecError."""
        return parse(self._command.end(2 * self._answer_seconds), self.targets)

    def abandon(self) -> None:
        """End the flows without reading the remaining answers."""
        self._command.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
