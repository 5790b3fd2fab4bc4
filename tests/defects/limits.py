"""Wrong short and changed timeouts, and lists with wrong clients; all on the client's node."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import repeated, written

_FIRST_ENDPOINT_NOT_ASKED = r"/affinity-return.* -> 10\.10\.1\..*--seconds 10800/d"

DEFECTS = (
    Defect(
        "a timeout of one second lasts an hour",
        written("s/--seconds 1 /--seconds 3600 /", at=Place.CLIENT),
        fails={"C24d": "0 of 15 moved"},
        passes=("C24e", "C24f"),
        at=None,
    ),
    Defect(
        "nft: a timeout of one second lasts an hour",
        written("/^add set /s/timeout 1s/timeout 3600s/", at=Place.CLIENT, program="nft"),
        fails={"C24d": "0 of 15 moved"},
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "no rcheck rules for a timeout of one second",
        written("/affinity-second-.*rcheck/d", at=Place.CLIENT),
        fails={"C24g": "moved"},
        passes=("C24d", "C24e", "C24f"),
        at=None,
    ),
    Defect(
        "a lowered timeout has no effect",
        written("s/--seconds 2 /--seconds 10800 /", at=Place.CLIENT),
        fails={"C24e": "0 of 15 moved"},
        passes=("C24d", "C24f"),
        at=None,
    ),
    Defect(
        "a raised timeout has no effect",
        written("s/--seconds 86400 /--seconds 2 /", at=Place.CLIENT),
        fails={"C24f": "moved"},
        passes=("C24d", "C24e"),
        at=None,
    ),
    Defect(
        "another program fills recent lists",
        repeated("for list in /proc/net/xt_recent/KUBE-SEP-*; do echo +10.10.0.250 > $list; done", at=Place.CLIENT),
        fails={"C37": r"10\.10\.0\.250"},
        passes=("C24d",),
        at=Place.CLIENT,
    ),
    Defect(
        "the first endpoint has no rcheck rule",
        written(_FIRST_ENDPOINT_NOT_ASKED, at=Place.CLIENT),
        fails={"C38": "the timeout raised: answered by webpod1"},
        passes=("C24e", "C24f"),
        at=None,
    ),
)
