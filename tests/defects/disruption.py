"""Nodes whose rules stay wrong after a restart of kube-proxy, or after interference with its rules."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import FLUSH_SETS, arranged, both, repeated, written

_LISTS = "/proc/net/xt_recent/KUBE-SEP-*"

DEFECTS = (
    Defect(
        "a restart clears affinity entries",
        repeated(f"for list in {_LISTS}; do echo / > $list; done"),
        fails=dict.fromkeys(("C40", "C40d"), "requests answered by one endpoint"),
        passes=("C40c",),
        at=None,
    ),
    Defect(
        "changes made while kube-proxy was stopped are wrong after its restart",
        written("s/--seconds 3600 /--seconds 600 /"),
        fails=dict.fromkeys(("C40b", "C92"), "--seconds 600"),
        passes=("C40", "C40c", "C40e"),
    ),
    Defect(
        "a Service made during an outage has no affinity",
        written("/affinity-new-.*rcheck/d"),
        fails={"C40b": "no affinity rule", "C40e": "answered by one endpoint", "C92": "no affinity rule"},
        passes=("C40", "C40d"),
        at=None,
    ),
    Defect(
        "nft: a Service made during an outage has no affinity",
        written("/^add rule .*affinity-new-[^ ]* ip saddr @/d", program="nft"),
        fails={"C40b": "affinity-new", "C40e": "answered by one endpoint", "C92": "affinity-new"},
        passes=("C40", "C40d"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: what was deleted during an outage stays",
        written("/^(flush|delete) .*affinity-deleted-/d", program="nft"),
        fails=dict.fromkeys(("C40b", "C92"), "affinity-deleted"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: affinity entries are cleared while kube-proxy restarts",
        repeated(FLUSH_SETS, pause=0.1),
        fails=dict.fromkeys(("C40", "C40d"), "requests answered by one endpoint"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "an interrupted sync is not repaired",
        written("/affinity-written.*rcheck/d", at=Place.CLIENT),
        fails={"C40c": "no affinity rule"},
        passes=("C40", "C40b"),
        at=Place.CLIENT,
    ),
    Defect(
        "nft: an interrupted sync is not repaired",
        written("/^add rule .*affinity-written.* update @/d", program="nft", at=Place.CLIENT),
        fails={"C40c": "update"},
        passes=("C40b",),
        at=Place.CLIENT,
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
        written("/affinity-rules-/s/^-A .*/BROKEN/"),
        fails={"C14": "no such chain", "C41b": r"failed syncs, \d+ more: iptables-restore failed \(IPv4\)"},
        passes=("C10",),
    ),
    Defect(
        "kube-proxy hangs once its rules are flushed",
        both(
            # The last to be undone: what repeats would stop it again.
            arranged(":", "pkill -CONT -o -x kube-proxy", at=Place.OTHER),
            repeated("iptables-save -t nat | grep -q KUBE-SERVICES || pkill -STOP -o -x kube-proxy", at=Place.OTHER),
        ),
        fails={"C48": "no such chain"},
        at=Place.OTHER,
    ),
    Defect(
        "nft: kube-proxy hangs once its table is deleted",
        both(
            arranged(":", "pkill -CONT -o -x kube-proxy", at=Place.WORKER),
            repeated("nft list table ip kube-proxy >/dev/null || pkill -STOP -o -x kube-proxy", at=Place.WORKER),
        ),
        fails={"C48c": "no such"},
        at=Place.WORKER,
        shape=NFTABLES,
    ),
    Defect(
        "a Service among a thousand others lacks rules",
        # Above a thousand endpoints kube-proxy writes no comments, which would distinguish Services.
        written("/--rcheck/{/--comment/!d}"),
        fails={"C86": "no affinity rule"},
    ),
)
