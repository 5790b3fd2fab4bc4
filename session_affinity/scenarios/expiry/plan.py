"""The groups of Service ports of the shared wait, and the moments of the requests to them.

Each port has its own rules, and each client its own affinity entries, so each pair is an independent trial
(``service_ports``). Moments are seconds after the first request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from session_affinity.experiment import FREE_TRIALS
from session_affinity.traffic.schedule import ScheduledRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.traffic.answers import Target

TIMEOUT_SECONDS: Final = 30
RENEWED_AT: Final = 10.0
JUST_BEFORE: Final = TIMEOUT_SECONDS - 2.0
JUST_AFTER: Final = TIMEOUT_SECONDS + 1.5
"""The middle of the window in which a probe counts: on a busy machine the first requests take a second longer."""
READ_AT: Final = 20.0
"""When the client's node is read: after every contact but the last, while data flows on the open connections.

On a busy machine the read takes seconds, and its end too has to be before the timeout.
"""

OPEN_PER_PROCESS: Final = 5
"""How many connections one curl keeps open; if it opens more, it closes the oldest."""
OPEN_PER_SECOND: Final = 8
"""As fast as connections are opened, their clients ask again at the end: all are silent for the same time."""
OPENED_AFTER: Final = 0.25 + OPEN_PER_PROCESS / OPEN_PER_SECOND
"""When all connections that stay open were opened, unless the machine is busy."""
OPEN_ROUNDS: Final = 35
"""A request on every open connection each 0.625 s, until 22 s after the first: a busy machine may need 9 s more."""


class Group(StrEnum):
    """The groups of Service ports; the comment says when requests are sent to them."""

    KEPT = "kept"
    """At the start and just before the timeout."""
    SLIDING = "sliding"
    """At the start, after 10 s, and just after the timeout counted from the start."""
    EXPIRED = "expired"
    """At the start and just after the timeout."""
    OPEN = "open"
    """By the second client at the start, on that connection for 22 s, and on a new one just after the timeout."""
    PATCHED = "patched"
    """Before the timeout is patched, and after it is over."""
    CONTROL = "control"
    """At the start and when the others have expired; the timeout is not patched."""
    VANISHING = "vanishing"
    """At the start only; the node is read before the timeout and after it. Only if nodes remove expired entries."""


SIZES: Final[Mapping[Group, int]] = {
    Group.KEPT: 6,
    Group.SLIDING: 6,
    Group.EXPIRED: FREE_TRIALS,
    Group.PATCHED: FREE_TRIALS,
    Group.CONTROL: 6,
    Group.VANISHING: 3,
}
"""How many ports a group has. That of the second client uses those of ``EXPIRED``.

No other group shares ports: a check of a list removes an expired entry of another client (``--reap``).
"""

_FIRST: Final = (Group.EXPIRED, Group.CONTROL, Group.SLIDING, Group.KEPT, Group.VANISHING)
_LAST: Final = (Group.EXPIRED, Group.CONTROL, Group.SLIDING)


@dataclass(frozen=True)
class Schedule:
    """The steps of one process in a client's pod, and the group of each target."""

    steps: tuple[ScheduledRequest, ...]
    groups: Mapping[Target, Group]


def short_schedule(targets: Mapping[Group, Sequence[Target]]) -> Schedule:
    """Return the steps of the groups with short connections.

    All steps have the targets in the same order: the requests of a step take time, and so every client is silent for
    the same time.
    """

    def step(at: float, *groups: Group) -> ScheduledRequest:
        return ScheduledRequest(at, tuple(target for group in groups for target in targets.get(group, ())))

    steps = (
        step(0, *_FIRST),
        step(RENEWED_AT, Group.SLIDING),
        step(JUST_BEFORE, Group.KEPT),
        step(JUST_AFTER, *_LAST),
    )
    return Schedule(steps, {target: group for group in _FIRST for target in targets.get(group, ())})


def open_schedules(targets: Sequence[Target]) -> list[Schedule]:
    """Return the steps of the group with open connections: one process for each ``OPEN_PER_PROCESS`` targets."""
    schedules = []
    for start in range(0, len(targets), OPEN_PER_PROCESS):
        of_process = tuple(targets[start : start + OPEN_PER_PROCESS])
        steps = (
            ScheduledRequest(0, of_process, rounds=OPEN_ROUNDS, keep_open=True, per_second=OPEN_PER_SECOND),
            ScheduledRequest(JUST_AFTER, of_process, per_second=OPEN_PER_SECOND),
        )
        schedules.append(Schedule(steps, dict.fromkeys(of_process, Group.OPEN)))
    return schedules
