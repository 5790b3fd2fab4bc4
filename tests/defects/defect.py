"""A defect: a fault that is injected into one node or the API, and the claims that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.defects.defective_cluster import DefectiveCluster


class Place(StrEnum):
    """A node of the cluster; its name is the cluster's name, a hyphen and this value."""

    CLIENT = "control-plane"
    """The node of the client net-pod, without endpoints. Its kube-proxy is killed during a sync."""
    WORKER = "worker"
    """The node of webpod1."""
    SICK = "worker2"
    """The node of webpod2: the defective node, if any node will do. Outages are made there.

    Its only clients are some of the many clients, and that of outages.
    """
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
        """The options for such a cluster."""
        return (f"--proxy-mode={self.proxy_mode}", *self.more)


IPTABLES = Shape("iptables")
NFTABLES = Shape("nftables")

Injection = Callable[["DefectiveCluster"], AbstractContextManager[object]]
"""Injects a defect into a cluster when entered, and removes its cause when left."""


@dataclass(frozen=True)
class Defect:
    """A defect and what it must cause.

    ``fails`` has the claims that must fail, each with a regular expression that its message must match, in which
    ``{sick}`` and ``{client}`` stand for the names of those nodes and ``.`` also matches line ends. ``passes`` are
    claims that must hold nevertheless, because the defect does not concern them. ``at`` is the node that the first line
    of every message must name, and no other; None if the defect is not one node's. ``fast`` defects are injected in
    ``make test`` too.
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
        """The claims that are checked while the defect is in effect."""
        return (*self.fails, *self.passes)
