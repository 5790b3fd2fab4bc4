"""A sample of a cluster's nodes, and what judging a sample can miss."""

from __future__ import annotations

import hashlib
from math import comb
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SURE: Final = 0.05
"""The probability of a miss below which a statement calls a defect found."""


def sample(names: Iterable[str], size: int) -> tuple[str, ...]:
    """Return that many names, those with the lowest hashes: the same of the same nodes, whatever their order.

    Nodes that come or go change the sample by themselves only. Names say nothing about a node's hash, so that each node
    is as likely to be in the sample as any other.
    """
    return tuple(sorted(names, key=lambda name: (hashlib.sha256(name.encode()).digest(), name))[:size])


def missed(nodes: int, judged: int, defective: int) -> float:
    """Return the probability that none of the defective nodes is among those judged (hypergeometric)."""
    return comb(nodes - defective, judged) / comb(nodes, judged)


def found_from(nodes: int, judged: int, probability: float = SURE) -> int:
    """Return on how many nodes a defect must be so that it is missed with that probability at most."""
    low, high = 0, nodes
    while low < high:
        middle = (low + high) // 2
        if missed(nodes, judged, middle) <= probability:
            high = middle
        else:
            low = middle + 1
    return low


def statement(nodes: int, judged: int) -> str:
    """Return in words how many of how many nodes are judged, and what that can miss."""
    chance, sure = missed(nodes, judged, 1), found_from(nodes, judged)
    return (
        f"{judged} of {nodes} nodes are judged: a defect on one node is missed with probability {chance:.1%},"
        f" one on {sure} nodes with at most {SURE:.0%}"
    )
