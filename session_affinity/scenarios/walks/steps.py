"""The steps of a walk, and the choices by which they are drawn: from a seed, or by a search for failures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from session_affinity.scenarios.walks.objects import Objects

T = TypeVar("T")


class Choose(Protocol):
    """Chooses among options, of which the first is the simplest."""

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of the options."""


class SeededChoice:
    """Chooses at random from a seed: the same on every machine and in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed is the point

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of the options; each is as likely as any other."""
        # Of all methods random() alone is promised to give the same numbers for a seed in later versions.
        return options[int(self._random.random() * len(options))]


@dataclass(frozen=True)
class Edit:
    """A step that edits objects, or makes or ends a fault.

    ``change`` returns the states that it leads through, the last of which stays: none when it does not apply to a
    state. What it does follows from the state and from what was chosen when it was drawn.
    """

    title: str
    change: Callable[[Objects], Sequence[Objects]]


@dataclass(frozen=True)
class Restart:
    """A step that kills a kube-proxy and starts it again; ``node`` is a number."""

    node: int


@dataclass(frozen=True)
class Bind:
    """A step that binds a client to an endpoint of a Service on a node; all but the Service are numbers."""

    service: str
    store: int
    client: int
    node: int


@dataclass(frozen=True)
class Wait:
    """A step that waits until all nodes have the expected rules."""


Step = Edit | Restart | Bind | Wait


class Scope(IntEnum):
    """What a walk may change, each value including those before it."""

    OBJECTS = 0
    """Services and EndpointSlices of the run's namespace."""
    ADDRESSES = 1
    """Also addresses outside the cluster, which its network may know: on clusters of the suite's own."""
    NODES = 2
    """Also nodes and their kube-proxies: on clusters of the suite's own that nobody uses meanwhile."""


@dataclass(frozen=True)
class Kind:
    """A kind of step. ``draw`` draws one, ``weight`` is how often it is taken in comparison with others."""

    name: str
    draw: Callable[[Choose], Step]
    weight: int = 1
    scope: Scope = Scope.OBJECTS
