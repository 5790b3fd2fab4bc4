"""Wrong recent lists, on the client's node."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import repeated

_ALL = "/proc/net/xt_recent/KUBE-SEP-*"

DEFECTS = (
    Defect(
        "lists are flushed",
        repeated(f"for list in {_ALL}; do echo / > $list; done", at=Place.CLIENT),
        # C10 fails as well, but by chance: its requests may fall between two flushes.
        fails={"C21": "one live entry"},
        at=Place.CLIENT,
        fast=True,
    ),
    Defect(
        "a node has an entry of a client of another node",
        repeated(f"for list in {_ALL}; do echo +10.10.0.250 > $list; done", at=Place.SICK),
        fails={"C21n": r"entries of .*10\.10\.0\.250", "C26": r"10\.10\.0\.250"},
        passes=("C10", "C13", "C21", "C52"),
    ),
)
