"""What a defect is: something wrong that is done to one node or to the API, and the claims that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.defects.sick import SickCluster


class Place(StrEnum):
    """A node by its part of the cluster; its name is the cluster's with this behind it."""

    CLIENT = "control-plane"
    """The node of the client net-pod; it has no endpoint."""
    WORKER = "worker"
    """The node of webpod1."""
    SICK = "worker2"
    """The node of webpod2: the one that misbehaves where any will do. No client is on it but those of a clientele."""
    OTHER = "worker3"
    """The node of webpod3."""


@dataclass(frozen=True)
class Shape:
    """The cluster that a defect needs.

    ``more`` are further options of both pytest and the embedded cluster's ``up``: ``--kubernetes=1.33``.
    """

    proxy_mode: str = "iptables"
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.proxy_mode, *self.more))

    @property
    def options(self) -> tuple[str, ...]:
        """The options that ask for it."""
        return (f"--proxy-mode={self.proxy_mode}", *self.more)


IPTABLES = Shape("iptables")
NFTABLES = Shape("nftables")

Injection = Callable[["SickCluster"], AbstractContextManager[object]]
"""Makes a cluster sick while it is entered, and takes the cause away when it is left."""


@dataclass(frozen=True)
class Defect:
    """A defect and what must come of it.

    ``fails`` has the claims that must fail, each with a regular expression that its message must match, in which
    ``{sick}`` and ``{client}`` stand for the names of those nodes and ``.`` matches line ends too. ``passes`` are
    claims that must hold all the same: the defect is not theirs. ``at`` is the node that every message must name, in
    its first line and alone; None where a node is not to blame. ``fast`` ones run in ``make test`` as well.
    """

    name: str
    injected: Injection
    fails: Mapping[str, str]
    passes: tuple[str, ...] = ()
    at: Place | None = Place.SICK
    shape: Shape = field(default=IPTABLES)
    fast: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that are checked while the defect is there."""
        return (*self.fails, *self.passes)
