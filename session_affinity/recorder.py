"""Records requests, node reads and API changes as evidence for the report.

Only the thread that runs the test records; worker threads return their observations instead, or keep their events for
it (``Kept``), so that the evidence has one order.
"""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.claims import Claim
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Object
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult
    from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients
    from session_affinity.scenarios.expiry.trials import TrialsSeen
    from session_affinity.testbed.testbed import SyncResult
    from session_affinity.traffic.answers import Answers
    from session_affinity.verdicts.verdict import Verdict

Recorded: TypeAlias = (
    "ServiceStored | RequestRound | NodeRead | Action | Note | Conclusion"
    " | SyncResult | TrialsSeen | SilentClients | ExpiredElements | ScenarioResult"
)
"""Everything that can be recorded. ``report.steps`` has a step for each kind; mypy fails there when one is missing."""

CREATED: Final = "created"
CHANGED: Final = "changed"
READ: Final = "read"


@dataclass(frozen=True)
class ServiceStored:
    """Services as the API stores them, with their EndpointSlices.

    ``how`` is CREATED, CHANGED or READ. ``objects`` are those of ``services``, in the same order; ``slices`` are those
    of all Services, empty when only a Service was changed.
    """

    services: tuple[ServiceState, ...]
    objects: tuple[Object, ...]
    slices: tuple[Object, ...] = ()
    how: str = CREATED


@dataclass(frozen=True)
class RequestRound:
    """Requests of a client, which is a pod on a node, with the answers; ``name`` heads the round in the report."""

    pod: str
    address: str
    node: str
    answers: Answers
    name: str = "answers"


@dataclass(frozen=True)
class NodeRead:
    """The state of nodes in one IP family when they were read, by node name."""

    states: Mapping[str, NodeSnapshot]
    family: Family = "IPv4"


@dataclass(frozen=True)
class Action:
    """A sentence about a change made to the cluster; ``where`` is the node it was made on, empty elsewhere."""

    description: str
    where: str = ""


@dataclass(frozen=True)
class Note:
    """A text with a name."""

    name: str
    text: str


@dataclass(frozen=True)
class Conclusion:
    """The verdict of a test on its claim."""

    verdict: Verdict
    claim: Claim


@dataclass(frozen=True)
class Event:
    """An observation, with its beginning and end in seconds since the epoch."""

    observation: Recorded
    began: float
    ended: float = field(default_factory=time.time)


class Recorder(Protocol):
    """Keeps events."""

    def keep(self, event: Event) -> None:
        """Keep an event."""


@dataclass
class Kept:
    """Events that are kept for the test whose evidence they are."""

    events: list[Event] = field(default_factory=list)

    def keep(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def record(self) -> None:
        """Record the events as evidence of the test that this thread runs."""
        if recorder := _RECORDER.get():
            for event in self.events:
                recorder.keep(event)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def record(observation: Recorded, *, since: float | None = None) -> None:
    """Record an observation that began at ``since`` (``time.time()``), or now. Without a recorder nothing happens."""
    if recorder := _RECORDER.get():
        recorder.keep(event_of(observation, since=since))


def event_of(observation: Recorded, *, since: float | None = None) -> Event:
    """Return an observation that ends now as an event; it began at ``since`` (``time.time()``), or now."""
    now = time.time()
    return Event(observation, now if since is None else since, now)


@contextlib.contextmanager
def recording_to(recorder: Recorder | None) -> Iterator[None]:
    """Record what this thread observes inside the block to a recorder; None suppresses recording."""
    before = _RECORDER.set(recorder)
    try:
        yield
    finally:
        _RECORDER.reset(before)


def suppressed() -> contextlib.AbstractContextManager[None]:
    """Suppress recording inside the block; the caller records one summary event instead."""
    return recording_to(None)
