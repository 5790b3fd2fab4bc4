"""Timeouts that end too early, too late or never; on the client's node, unless the node does not matter."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import repeated, stopped, written

_LISTS = "/proc/net/xt_recent/KUBE-SEP-*"

DEFECTS = (
    Defect(
        "kube-proxy hangs before the patch",
        # Twenty ports of the shared wait have the default timeout for longer, three rules each.
        stopped(once="--rcheck --seconds 10800", times=60),
        fails={"C22": "--seconds 10800"},
        passes=("C24",),
    ),
    Defect(
        "affinity entries are cleared all the time",
        repeated(f"for list in {_LISTS}; do echo / > $list; done", at=Place.CLIENT),
        fails={"C23": "moved", "C24b": "moved", "C25": "listed", "C53": "moved"},
        at=None,
    ),
    Defect(
        "affinity entries are renewed all the time",
        repeated(
            # A write to a list is about one client: the first in it.
            f"for list in {_LISTS}; do sed -n 's/^src=\\([0-9.]*\\) .*/+\\1/p' $list"
            " | while read -r client; do echo $client > $list; done; done",
            at=Place.CLIENT,
            pause=1.0,
        ),
        fails={"C24": "0 of 15 moved", "C24c": "entries were renewed"},
        passes=("C23", "C24b", "C53"),
        at=None,
    ),
    Defect(
        "the timeout in the rules is shorter",
        written("s/--seconds 30 /--seconds 10 /", at=Place.CLIENT),
        fails={"C22": "--seconds 10", "C23": "moved", "C24b": "moved"},
        passes=("C24", "C53"),
        at=None,
    ),
    Defect(
        "the timeout in the rules is the default",
        written("s/--seconds 30 /--seconds 10800 /", at=Place.CLIENT),
        fails={"C22": "--seconds 10800", "C24": "0 of 15 moved", "C24c": "0 of 15 moved", "C25": "0 of 15 moved"},
        passes=("C23", "C53"),
        at=None,
    ),
    Defect(
        "the default timeout in the rules is shorter",
        written("s/--seconds 10800 /--seconds 10 /", at=Place.CLIENT),
        fails={"C53": "moved"},
        passes=("C24",),
        at=None,
    ),
)
