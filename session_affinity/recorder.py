"""What is seen on the way to a verdict, told to whoever keeps it as evidence.

Clients tell of their answers, nodes of what they hold, the makers of Services and pods of what they changed, so that a
test need not. A keeper is set for one thread, the one that judges: what other threads see reaches it through what they
return, and evidence has one order.
"""

from __future__ import annotations

import contextlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.snapshot import NodeState
    from session_affinity.kube.api import Object
    from session_affinity.traffic.answers import Answers


MADE: Final = "made"
CHANGED: Final = "changed"
READ: Final = "read"


@dataclass(frozen=True)
class Stored:
    """Services as the API stores them, with their EndpointSlices, and whether they were made, changed or just read.

    ``services`` and ``objects`` belong together; ``slices`` are those of all, none when only a Service was changed.
    """

    services: tuple[ServiceState, ...]
    objects: tuple[Object, ...]
    slices: tuple[Object, ...] = ()
    how: str = MADE


@dataclass(frozen=True)
class Asked:
    """Requests of a client, a pod on a node, and what came of them."""

    pod: str
    address: str
    node: str
    answers: Answers


@dataclass(frozen=True)
class Looked:
    """What nodes held of one IP family when they were read."""

    states: Mapping[str, NodeState]
    family: Family = "IPv4"


@dataclass(frozen=True)
class Did:
    """Something that was done to the cluster, in words."""

    what: str
    where: str = ""


@dataclass(frozen=True)
class Sighting:
    """What was told, and from when to when it took, in seconds since the epoch."""

    what: object
    began: float
    ended: float = field(default_factory=time.time)


class Keeper(Protocol):
    """Whoever keeps what is told."""

    def keep(self, sighting: Sighting) -> None:
        """Take down what was seen."""


_KEEPER: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


def tell(what: object, *, since: float | None = None) -> None:
    """Tell of what was seen; ``since`` is the ``time.time()`` it began at. Without a keeper it is passed over."""
    if keeper := _KEEPER.get():
        now = time.time()
        keeper.keep(Sighting(what, now if since is None else since, now))


@contextlib.contextmanager
def kept_by(keeper: Keeper | None) -> Iterator[None]:
    """Let a keeper have what this thread tells in the block; None lets it go untold."""
    before = _KEEPER.set(keeper)
    try:
        yield
    finally:
        _KEEPER.reset(before)


def untold() -> contextlib.AbstractContextManager[None]:
    """Let what is told in the block go untold: it is part of something that is told as a whole."""
    return kept_by(None)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names in words, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
