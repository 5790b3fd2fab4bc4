"""Timeouts of seconds that are not kept, and lists that do not hold whom they should; all on the client's node."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import repeated, written

_FIRST_ENDPOINT_NOT_ASKED = r"/affinity-return.* -> 10\.10\.1\..*--seconds 10800/d"

DEFECTS = (
    Defect(
        "one second lasts for an hour",
        written("s/--seconds 1 /--seconds 3600 /", at=Place.CLIENT),
        fails={"C24d": "0 of 20 moved"},
        passes=("C24e", "C24f"),
        at=None,
    ),
    Defect(
        "nft: one second lasts for an hour",
        written("/^add set /s/timeout 1s/timeout 3600s/", at=Place.CLIENT, program="nft"),
        fails={"C24d": "0 of 20 moved"},
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "a lowered timeout is not heeded",
        written("s/--seconds 2 /--seconds 10800 /", at=Place.CLIENT),
        fails={"C24e": "0 of 20 moved"},
        passes=("C24d", "C24f"),
        at=None,
    ),
    Defect(
        "a raised timeout is not heeded",
        written("s/--seconds 86400 /--seconds 2 /", at=Place.CLIENT),
        fails={"C24f": "moved"},
        passes=("C24d", "C24e"),
        at=None,
    ),
    Defect(
        "somebody else takes places in lists",
        repeated("for list in /proc/net/xt_recent/KUBE-SEP-*; do echo +10.10.0.250 > $list; done", at=Place.CLIENT),
        fails={"C37": r"10\.10\.0\.250"},
        passes=("C24d",),
        at=Place.CLIENT,
    ),
    Defect(
        "the first endpoint is not asked for old clients",
        written(_FIRST_ENDPOINT_NOT_ASKED, at=Place.CLIENT),
        fails={"C38": "the timeout raised: answered by webpod1"},
        passes=("C24e", "C24f"),
        at=None,
    ),
)
