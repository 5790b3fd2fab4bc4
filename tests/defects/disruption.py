"""Nodes whose rules stay wrong after a restart of kube-proxy, or after interference with its rules."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import arranged, both, repeated, written

_LISTS = "/proc/net/xt_recent/KUBE-SEP-*"

DEFECTS = (
    Defect(
        "a restart clears affinity entries",
        repeated(f"for list in {_LISTS}; do echo / > $list; done", at=Place.CLIENT),
        fails={"C40": "requests answered by one endpoint"},
        passes=("C40b", "C40c"),
        at=None,
    ),
    Defect(
        "changes made while kube-proxy was stopped are wrong after its restart",
        written("s/--seconds 30 /--seconds 10 /", at=Place.WORKER),
        fails={"C40b": "--seconds 10"},
        passes=("C40", "C40c"),
        at=Place.WORKER,
    ),
    Defect(
        "an interrupted sync is not repaired",
        written("/affinity-written.*rcheck/d"),
        fails={"C40c": "no affinity rule"},
        passes=("C40", "C40b"),
    ),
    Defect(
        "nft: an interrupted sync is not repaired",
        written("/^add rule .*affinity-written.* update @/d", program="nft"),
        fails={"C40c": "update"},
        passes=("C40b",),
        shape=NFTABLES,
    ),
    Defect(
        "a foreign rule in one Service's chain blocks the sync of others",
        written("/affinity-other.*rcheck/d", at=Place.CLIENT),
        fails={"C41": "no affinity rule"},
        passes=("C40",),
        at=Place.CLIENT,
    ),
    Defect(
        "syncs fail because of one Service",
        written("/affinity-norules/s/^-A .*/BROKEN/"),
        fails={"C14": "no such chain", "C41b": "failed syncs"},
        passes=("C10",),
    ),
    Defect(
        "kube-proxy hangs once its rules are flushed",
        both(
            # The last to be undone: what repeats would stop it again.
            arranged(":", "pkill -CONT -x kube-proxy", at=Place.OTHER),
            repeated("iptables-save -t nat | grep -q KUBE-SERVICES || pkill -STOP -x kube-proxy", at=Place.OTHER),
        ),
        fails={"C48": "no such chain"},
        at=Place.OTHER,
    ),
    Defect(
        "a Service among a thousand others lacks rules",
        # Above a thousand endpoints kube-proxy writes no comments, which would distinguish Services.
        written("/--rcheck/{/--comment/!d}"),
        fails={"C86": "no affinity rule"},
    ),
)
