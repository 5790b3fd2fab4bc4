"""Keeps the garbage collector away from what lives as long as the run: modules, claims and fixtures."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLD: Final = 50_000
"""So many new objects cause a collection: one reading of a node has more than that, and 700 is the default."""


def pytest_collection_finish() -> None:
    """Leave all that exists by now out of later collections, and collect less often.

    pytest collects garbage ten times when it ends; with all modules in each of them that took 0.5 s of processor time.
    A reading of a node's nftables is parsed in 26 ms instead of 31 ms with the greater threshold.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
