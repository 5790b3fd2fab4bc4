"""Nodes that go wrong while Services are edited at random."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect
from tests.defects.inject import written

DEFECTS = (
    Defect(
        "walks: a node does not follow a Service that gets affinity",
        written("/affinity-walk-.*rcheck/d"),
        fails={"C95": "no affinity rule"},
        passes=("C10", "C15"),
    ),
    Defect(
        "walks: nft: a node does not follow a Service that gets affinity",
        written("/^add rule .*affinity-walk-.* update @/d", program="nft"),
        fails={"C95": "update"},
        passes=("C10", "C15"),
        shape=NFTABLES,
    ),
)
