"""Records requests, node reads and API changes as evidence for the report.

Only the thread that runs the test records; worker threads return their observations instead, so that the evidence has
one order.
"""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.kube.api import Object
    from session_affinity.traffic.answers import Answers


MADE: Final = "made"
CHANGED: Final = "changed"
READ: Final = "read"


@dataclass(frozen=True)
class ServiceStored:
    """Services as the API stores them, with their EndpointSlices, and whether they were made, changed or just read.

    ``objects`` are those of ``services``, in the same order; ``slices`` are those of all Services, empty when only a
    Service was changed.
    """

    services: tuple[ServiceState, ...]
    objects: tuple[Object, ...]
    slices: tuple[Object, ...] = ()
    how: str = MADE


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
    """Something that was done to the cluster, in words, and where."""

    what: str
    where: str = ""


@dataclass(frozen=True)
class Note:
    """A text with a name."""

    name: str
    text: str


@dataclass(frozen=True)
class Event:
    """An observation, with its beginning and end in seconds since the epoch."""

    what: object
    began: float
    ended: float = field(default_factory=time.time)


class Recorder(Protocol):
    """Keeps events."""

    def keep(self, event: Event) -> None:
        """Keep an event."""


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def record(what: object, *, since: float | None = None) -> None:
    """Record an observation that began at ``since`` (``time.time()``), or now. Without a recorder nothing happens."""
    if recorder := _RECORDER.get():
        now = time.time()
        recorder.keep(Event(what, now if since is None else since, now))


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
