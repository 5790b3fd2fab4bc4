"""Keeps the garbage collector away from what lives as long as the run: modules, claims and fixtures."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Leave all that exists by now out of later collections.

    pytest collects garbage ten times when it ends; with all modules in each of them that took 0.5 s of processor time.
    """
    gc.freeze()
