"""Nodes that do not follow changes of endpoints and Services, cleared affinity entries, lost requests."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import arranged, repeated, stopped, written

_LISTS = "/proc/net/xt_recent/KUBE-SEP-*"
_LOSSY = (
    "iptables {} FORWARD -p tcp --syn -m conntrack --ctorigdst 10.200.1.0/24 "
    "-m statistic --mode random --probability 0.3 -j REJECT --reject-with tcp-reset"
)
_STALE = {
    "C27": "is not one of its 2 ready endpoints",
    "C80": "no such|no .* rule",
    "C28": "is not one of its 2 ready endpoints",
    "C39": "no such|no .* rule",
    "C29": "no such|no .* rule",
    "C30": "leftover|not one of its 0 ready endpoints",
    "C81": "is not one of its",
    "C82": "is not one of its",
    "C34": "is not one of its 1 ready endpoints",
    "C34c": "no such|is not one of its",
    "C83": "9001",
    "C83b": "no such",
    "C84": "nothing|no such",
    "C35": "affinity-|KUBE-",
}
"""The messages of claims about a node with outdated rules."""

DEFECTS = (
    Defect(
        "kube-proxy hangs while endpoints come and go",
        stopped(once="affinity-recreated", times=6),
        fails=_STALE,
    ),
    Defect(
        "nft: kube-proxy hangs while endpoints come and go",
        stopped(once="service-[A-Z0-9]*-default/affinity-recreated"),
        fails={**_STALE, **dict.fromkeys(("C27", "C28", "C30", "C81", "C82", "C34"), "affinity-")},
        shape=NFTABLES,
    ),
    Defect(
        "affinity entries are cleared as endpoints come and go",
        repeated(f"for list in {_LISTS}; do echo / > $list; done", at=Place.CLIENT),
        fails={
            **dict.fromkeys(("C29", "C39", "C80"), "which the client is bound to"),
            **dict.fromkeys(("C27", "C28", "C30", "C82"), "answered by (one of|affinity-)"),
            **dict.fromkeys(("C34", "C34b", "C81"), "answered by"),
            "C83": "entry .*, and no other entry",
        },
        passes=("C34c", "C83b", "C84", "C35"),
        at=None,
    ),
    Defect(
        "requests to Services get lost",
        arranged(_LOSSY.format("-I"), _LOSSY.format("-D"), at=Place.CLIENT),
        fails=dict.fromkeys(("C27", "C28", "C29", "C30", "C34", "C34b", "C39", "C80", "C81", "C82"), "failed"),
        passes=("C34c", "C83b", "C84", "C35"),
        at=None,
    ),
    Defect(
        "chains are never deleted",
        written("/^-X KUBE-S/d"),
        fails={"C30": "no such chain", "C84": "no such chain", "C35": "KUBE-SVC-"},
        passes=("C29", "C83"),
    ),
    Defect(
        "a node has affinity entries of clients that sent no request",
        repeated(f"for list in {_LISTS}; do echo +10.10.0.250 > $list; done"),
        fails={"C83b": r"10\.10\.0\.250", "C84": r"10\.10\.0\.250"},
        passes=("C27", "C81", "C35"),
    ),
)
