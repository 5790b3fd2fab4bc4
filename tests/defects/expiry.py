"""Timeouts that run out too early, too late or not at all."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import repeated, stopped

DEFECTS = (
    Defect(
        "kube-proxy hangs before the patch",
        # Fifty Services of the shared wait, three rules each.
        stopped(once="--rcheck --seconds 10800", times=150),
        fails={"C22": "--seconds 10800"},
        passes=("C24",),
    ),
    Defect(
        "clients are forgotten early",
        repeated("for list in /proc/net/xt_recent/KUBE-SEP-*; do echo / > $list; done", at=Place.CLIENT),
        fails={"C23": "stayed|moved"},
        at=None,
    ),
)
