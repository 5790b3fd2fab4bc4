"""Who is asked when: the groups of Services of the shared wait, and the moments of their requests.

Each Service has its own rules and lists, so each is a trial of its own although one client asks them all.
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
JUST_BEFORE: Final = TIMEOUT_SECONDS - 1.0
JUST_AFTER: Final = TIMEOUT_SECONDS + 1.0
LOOK_AT: Final = 26.0
"""When the lists are read: after every contact but the last, while the open connections still carry data."""

OPEN_A_PROCESS: Final = 5
"""How many connections one curl keeps open; it closes the oldest beyond that."""
OPEN_PER_SECOND: Final = 4
OPEN_ROUNDS: Final = 22
"""Data on every open connection each 1.25 s, until 27.25 s after the first."""


class Group(StrEnum):
    """What happens to a group's clients."""

    KEPT = "kept"
    """Asked just before the timeout."""
    SLIDING = "sliding"
    """Asked once in between, and just after what would have been the timeout."""
    EXPIRED = "expired"
    """Asked just after the timeout."""
    OPEN = "open"
    """Asked just after the timeout; until then the first connection stays open and carries data."""
    PATCHED = "patched"
    """Asked before the timeout was patched, and after it is over."""
    CONTROL = "control"
    """Asked when the others have expired, with the timeout left as it was."""
    GONE = "gone"
    """Asked once; looked for just before the timeout and after it. Only where a memory lets go of expired clients."""


SIZES: Final[Mapping[Group, int]] = {
    Group.KEPT: 6,
    Group.SLIDING: 6,
    Group.EXPIRED: FREE_TRIALS,
    Group.OPEN: FREE_TRIALS,
    Group.PATCHED: FREE_TRIALS,
    Group.CONTROL: 6,
    Group.GONE: 3,
}

_FIRST: Final = (Group.EXPIRED, Group.CONTROL, Group.SLIDING, Group.KEPT, Group.GONE)
_LAST: Final = (Group.EXPIRED, Group.CONTROL, Group.SLIDING)


@dataclass(frozen=True)
class Schedule:
    """Steps that one process of the client runs, with the group each target of a step belongs to."""

    steps: tuple[ScheduledRequest, ...]
    groups: Mapping[Target, Group]


def short_schedule(targets: Mapping[Group, Sequence[Target]]) -> Schedule:
    """Return the steps of the groups whose connections are short.

    The order within a step is that of the first one, so that every client is silent for the same time although the
    requests of a step take their time.
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
    """Return the steps of the group whose first connections stay open, a few of them a process."""
    schedules = []
    for start in range(0, len(targets), OPEN_A_PROCESS):
        few = tuple(targets[start : start + OPEN_A_PROCESS])
        steps = (
            ScheduledRequest(0, few, rounds=OPEN_ROUNDS, keep_open=True, per_second=OPEN_PER_SECOND),
            ScheduledRequest(JUST_AFTER, few, per_second=OPEN_PER_SECOND),
        )
        schedules.append(Schedule(steps, dict.fromkeys(few, Group.OPEN)))
    return schedules
