"""Datagrams and who answered them, sent by bash: one process for all rounds, one socket or many for a target.

A socket has a port of its own. What is sent from one socket is one flow to the network; a new socket begins a new flow.
So whoever sends on a new socket each time is what a client of TCP is, and whoever keeps a socket has no such thing in
TCP. Needs bash, head and timeout where the datagrams are sent from.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import TrafficError
from session_affinity.traffic.answers import Answer, Answers
from session_affinity.traffic.schedule import CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.traffic.answers import Target

# head takes a datagram in one read; bash's own read takes a byte, and the kernel drops what is left of the datagram.
SCRIPT: Final = (
    CLOCK
    + r"""
patience=$1; shift
ask() {
  uptime; sent=$up
  line=$({ printf x >&"$1" && timeout "$patience" head -n 1 <&"$1"; } 2>/dev/null)
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
      ask "$socket"
      if [ "$how" = kept ]; then kept[$address $port]=$socket; else exec {socket}>&-; fi
    fi
  done
done
"""
)
"""Takes how many seconds an answer may take, then for each round: the pause before it in hundredths of a second, how
sockets are used, the number of datagrams, an address and a port for each."""

NO_ANSWER: Final = "no answer"
_LINE = re.compile(r"^@datagram (?P<sent>\d+\.\d\d) (?P<ended>\d+\.\d\d) (?P<said>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Round:
    """Datagrams to several targets one after the other, ``count`` to each in turn.

    ``pause`` is how many seconds after the round before, or after the start, it begins. Each datagram has a socket of
    its own, unless ``kept``: then all of a target, of this round and the others that keep it, have the same one.
    ``name`` heads the round in the report.
    """

    targets: tuple[Target, ...]
    count: int = 1
    kept: bool = False
    pause: float = 0.0
    name: str = "answers"

    @property
    def sent_to(self) -> tuple[Target, ...]:
        """The target of each datagram in the order they are sent."""
        return tuple(target for target in self.targets for _ in range(self.count))

    def arguments(self) -> list[str]:
        """Return the script's arguments for this round."""
        how = "kept" if self.kept else "fresh"
        words = [word for target in self.sent_to for word in (target.address, str(target.port))]
        return [str(round(self.pause * 100)), how, str(len(self.sent_to)), *words]


def argv(rounds: Sequence[Round], patience: float) -> list[str]:
    """Return the command that sends all rounds; ``patience`` is how many seconds an answer may take."""
    words = [word for one in rounds for word in one.arguments()]
    return ["bash", "-c", SCRIPT, "datagrams", str(math.ceil(patience)), *words]


def parse(text: str, rounds: Sequence[Round]) -> tuple[Answers, ...]:
    """Read what the script printed; raises TrafficError when a datagram is missing."""
    wanted = [(place, target) for place, one in enumerate(rounds) for target in one.sent_to]
    lines = list(_LINE.finditer(text))
    if len(lines) != len(wanted):
        said = text.strip()[-500:] or "nothing"
        raise TrafficError(
            f"the client reported {len(lines)} of {len(wanted)} datagrams; it said: {said}",
            next_step="see whether the client's image has bash, head and timeout",
        )
    answers: list[list[Answer]] = [[] for _ in rounds]
    for (place, target), line in zip(wanted, lines, strict=True):
        answers[place].append(_answer(target, line))
    return tuple(Answers(tuple(one)) for one in answers)


def _answer(target: Target, line: re.Match[str]) -> Answer:
    head, _, name = line["said"].partition(":")
    endpoint = name.strip() if head == "Hostname" and name.strip() else None
    error = "" if endpoint else f"the answer names no host: {line['said'][:80]!r}" if line["said"] else NO_ANSWER
    sent, ended = float(line["sent"]), float(line["ended"])
    return Answer(target, endpoint, 0, 0, 1, ended - sent, error, not_before=sent, not_after=ended)
