"""Datagrams and the endpoints that answered them, sent by bash: one process for all rounds.

Each socket has its own source port, so to conntrack each socket is a flow. Sending on a new socket each time resembles
new TCP connections; TCP has no equivalent to sending again on a kept socket. Needs bash, head and timeout in the
client's image.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import TrafficError
from session_affinity.traffic.answers import Answer, Answers
from session_affinity.traffic.curl import shown_output
from session_affinity.traffic.schedule import CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.traffic.answers import Target

# head takes a datagram in one read; bash's own read takes a byte, and the kernel drops what is left of the datagram.
SCRIPT: Final = (
    CLOCK
    + r"""
limit=$1; shift
exchange() {
  uptime; sent=$up
  line=$({ printf x >&"$1" && timeout "$limit" head -n 1 <&"$1"; } 2>/dev/null)
  uptime; printf '@datagram %s %s %s\n' "$sent" "$up" "$line"
}
declare -A kept
while [ $# -gt 0 ]; do
  pause=$1 how=$2 count=$3; shift 3
  hundredths; wait_until "$(( now + pause ))"
  for (( number = 0; number < count; number++ )); do
    address=$1 port=$2 socket=; shift 2
    [ "$how" = kept ] && socket=${kept[$address $port]}
    if [ -z "$socket" ]; then
      { exec {socket}<>"/dev/udp/$address/$port"; } 2>/dev/null || socket=
    fi
    if [ -z "$socket" ]; then
      uptime; printf '@datagram %s %s \n' "$up" "$up"
    else
      exchange "$socket"
      if [ "$how" = kept ]; then kept[$address $port]=$socket; else exec {socket}>&-; fi
    fi
  done
done
"""
)
"""Takes the timeout of an answer in seconds, then for each round: the pause before it in hundredths of a second,
``kept`` or ``fresh`` sockets, the number of datagrams, and an address and a port for each."""

NO_ANSWER: Final = "no answer"
_LINE = re.compile(r"^@datagram (?P<answer>\d+\.\d\d \d+\.\d\d .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Round:
    """Datagrams to several targets one after the other, ``count`` to each in turn.

    The round begins ``pause`` seconds after the round before it. Each datagram is sent on a new socket, unless
    ``keep_sockets``: then all datagrams to a target, in all rounds with ``keep_sockets``, are sent on the same socket.
    ``name`` is the heading of the round in the report.
    """

    targets: tuple[Target, ...]
    count: int = 1
    keep_sockets: bool = False
    pause: float = 0.0
    name: str = "answers"

    @property
    def sent_to(self) -> tuple[Target, ...]:
        """The target of each datagram, in the order of sending."""
        return tuple(target for target in self.targets for _ in range(self.count))

    def arguments(self) -> list[str]:
        """Return the script's arguments for this round."""
        sockets = "kept" if self.keep_sockets else "fresh"
        words = [word for target in self.sent_to for word in (target.address, str(target.port))]
        return [str(round(self.pause * 100)), sockets, str(len(self.sent_to)), *words]


def argv(rounds: Sequence[Round], timeout: float) -> list[str]:
    """Return the command that sends all rounds; ``timeout`` is that of each answer, in seconds."""
    words = [word for round_ in rounds for word in round_.arguments()]
    return ["bash", "-c", SCRIPT, "datagrams", str(math.ceil(timeout)), *words]


def parse(text: str, rounds: Sequence[Round]) -> tuple[Answers, ...]:
    """Read the script's output; raises TrafficError if the report of a datagram is missing."""
    sent = [(place, target) for place, round_ in enumerate(rounds) for target in round_.sent_to]
    lines = list(_LINE.finditer(text))
    if len(lines) != len(sent):
        raise TrafficError(
            f"the client reported {len(lines)} of {len(sent)} datagrams; {shown_output(text)}",
            next_step="check that the client's image has bash, head and timeout",
        )
    answers: list[list[Answer]] = [[] for _ in rounds]
    for (place, target), line in zip(sent, lines, strict=True):
        answers[place].append(answer(target, line["answer"]))
    return tuple(Answers(tuple(of_round)) for of_round in answers)


def answer(target: Target, line: str) -> Answer:
    """Return the answer in a line of a script: when the datagram was sent, when its answer came, and its first line."""
    began, over, text = line.split(" ", 2)
    head, _, name = text.partition(":")
    endpoint = name.strip() if head == "Hostname" and name.strip() else None
    error = "" if endpoint else f"the answer names no host: {text[:80]!r}" if text else NO_ANSWER
    sent, ended = float(began), float(over)
    return Answer(target, endpoint, 0, 0, 1, ended - sent, error, not_before=sent, not_after=ended)
