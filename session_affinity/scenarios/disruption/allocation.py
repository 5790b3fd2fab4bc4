"""The nodes that disruptions use: as far as possible none disturbs the client, and none another disruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class DisruptionNodes:
    """The node of each disruption.

    On ``flushed`` and ``partly_flushed`` rules are flushed, and the nodes are watched in the background while the other
    disruptions are made: they take other nodes, because a restart of kube-proxy would restore the rules. Both are None
    if the client's node is the only one: without rules there the requests of all other tests would fail; the second
    also if there is no other for it. On ``outages`` kube-proxy is stopped, killed, and kept from writing. It is the
    client's node where every other one is flushed: ``spares_client`` says whether it is not. The last disruptions are
    made on the client's node, when no other test relies on it any more.
    """

    flushed: str | None
    partly_flushed: str | None
    outages: str
    spares_client: bool

    @property
    def all_flushed(self) -> tuple[str, ...]:
        """The nodes whose rules are flushed, of the second only some."""
        return tuple(node for node in (self.flushed, self.partly_flushed) if node)

    @classmethod
    def of(cls, names: Sequence[str], client_node: str) -> DisruptionNodes:
        """Allocate nodes in the order of ``names``, which is not empty.

        With at least three nodes beside the client's each disruption has one of these.
        """
        others = [name for name in names if name != client_node]
        flushed = others[-1] if others else None
        partly = others[0] if len(others) > 1 else None
        free = [name for name in others if name not in (flushed, partly)]
        return cls(flushed, partly, free[0] if free else client_node, bool(free))
