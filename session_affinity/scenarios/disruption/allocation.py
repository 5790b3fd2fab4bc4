"""The nodes that disruptions use: none disturbs the client, and as far as possible none disturbs another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class DisruptionNodes:
    """The node of each disruption that is not made on the client's node.

    On ``changes`` kube-proxy is stopped while Services change, on ``killed`` it is killed during a sync. On ``flushed``
    the rules are flushed, and the node is watched in the background while the other disruptions are made: they take
    other nodes, because a restart of kube-proxy would restore the rules before its syncPeriod does. ``flushed`` is None
    if the client's node is the only one: without rules there the requests of all other tests would fail.
    """

    changes: str
    killed: str
    flushed: str | None

    @classmethod
    def of(cls, names: Sequence[str], client_node: str) -> DisruptionNodes:
        """Allocate nodes in the order of ``names``, which is not empty.

        With at least three nodes beside the client's all three differ. With two, ``killed`` and ``flushed`` are the
        same node; with one, all three are. Without any, ``changes`` and ``killed`` are the client's node.
        """
        others = [name for name in names if name != client_node]
        candidates = others or [client_node]
        return cls(candidates[0], candidates[1 % len(candidates)], others[-1] if others else None)
