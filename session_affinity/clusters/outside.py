"""A machine outside a cluster that sends requests: some promises of the API are to clients from outside only."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.nodes.node import Completed


class OutsideHost(Protocol):
    """A machine that is no node and no pod of the cluster, with curl 7.88 or later."""

    @property
    def name(self) -> str:
        """Its name in messages and in the report."""

    @property
    def place(self) -> str:
        """Where it is, in words."""

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command there and wait for it (see ``nodes.node.Node``); raises NodeError."""

    def lead(self, address: str, node_address: str) -> bool:
        """Have what it sends to an address arrive at a node; false where its routes are not the suite's to change."""


class OwnRoutes:
    """A host whose routes are its owner's."""

    def lead(self, address: str, node_address: str) -> bool:
        """Return false (see ``OutsideHost``)."""
        del address, node_address
        return False


@dataclass(frozen=True)
class Outside:
    """The machine outside a cluster; ``host`` is None where there is none, for ``reason``."""

    host: OutsideHost | None
    reason: str = ""


@contextlib.contextmanager
def nobody(reason: str) -> Iterator[Outside]:
    """Yield no machine, with the reason."""
    yield Outside(None, reason)
