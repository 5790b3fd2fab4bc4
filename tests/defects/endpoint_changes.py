"""Nodes that do not follow changes of endpoints and Services, cleared affinity entries, lost requests."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import FLUSH_SETS, arranged, both, repeated, stopped, written

_LISTS = "/proc/net/xt_recent/KUBE-SEP-*"
_LOSSY = (
    "iptables {} FORWARD -p tcp --syn -m conntrack --ctorigdst 10.200.0.0/16 "
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
    "C87": "KUBE-|node-?ports",
    "C87b": r"198\.51\.100\.",
    "C88": "affinity-policed",
    "C89": "no such|9001",
}
"""The messages of claims about a node with outdated rules."""

DEFECTS = (
    Defect(
        "kube-proxy hangs while endpoints come and go",
        stopped(once="affinity-emptied", times=6),
        fails=_STALE,
    ),
    Defect(
        "nft: kube-proxy hangs while endpoints come and go",
        stopped(once="service-[A-Z0-9]*-default/affinity-emptied"),
        fails={**_STALE, **dict.fromkeys(("C27", "C28", "C30", "C81", "C82", "C34"), "affinity-")},
        shape=NFTABLES,
    ),
    Defect(
        "affinity entries are cleared as endpoints come and go",
        repeated(f"for list in {_LISTS}; do echo / > $list; done", at=Place.CLIENT),
        fails={
            **dict.fromkeys(("C29", "C39", "C80"), "which the client is bound to"),
            **dict.fromkeys(("C27", "C28", "C30", "C82"), "answered by (one of|affinity-)"),
            **dict.fromkeys(("C34", "C34b", "C81", "C87", "C87b", "C88", "C89", "C93"), "answered by"),
            "C83": "entry .*, and no other entry",
        },
        passes=("C34c", "C83b", "C84", "C35"),
        at=None,
    ),
    Defect(
        "nft: affinity entries are cleared as endpoints come and go",
        repeated(FLUSH_SETS, at=Place.CLIENT, pause=0.1),
        fails={"C88": "requests answered by", "C93": "answered by"},
        passes=("C34c", "C35"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "an endpoint that is back has no affinity",
        written("/affinity-flapping-.*rcheck/d"),
        fails={"C93": "no affinity rule"},
        passes=("C80", "C89"),
    ),
    Defect(
        "nft: an endpoint that is back has no affinity",
        written("/^add rule .*affinity-flapping-.* update @/d", program="nft"),
        fails={"C93": "update"},
        passes=("C80", "C89"),
        shape=NFTABLES,
    ),
    Defect(
        "kube-proxy of the client's node hangs while datagrams are sent",
        stopped(once="affinity-emptied", times=6, at=Place.CLIENT),
        fails={"C94": "0 of [1-8] flows left", "C94c": "0 of 2 flows unanswered"},
        passes=("C94b", "C94d"),
        at=None,
    ),
    Defect(
        "nft: kube-proxy of the client's node hangs while datagrams are sent",
        stopped(once="service-[A-Z0-9]*-default/affinity-emptied", at=Place.CLIENT),
        fails={"C94": "0 of [1-8] flows left", "C94c": "0 of 2 flows unanswered"},
        passes=("C94b", "C94d"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "kube-proxy of the client's node hangs while a Service has no endpoint",
        # The port is renamed in the round after that in which the Service loses its endpoints.
        stopped(once=r"affinity-port-\w+:other", at=Place.CLIENT),
        fails={"C94d": "0 of 2 flows answered"},
        passes=("C94", "C94c"),
        at=None,
    ),
    Defect(
        "nft: kube-proxy of the client's node hangs while a Service has no endpoint",
        stopped(once=r"affinity-port-\w+/tcp/other", at=Place.CLIENT),
        fails={"C94d": "0 of 2 flows answered"},
        passes=("C94", "C94c"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "flows of datagrams are cut",
        both(
            *(
                repeated(f"for list in {_LISTS}; do echo / > $list; done; conntrack -D -p udp", at=at, pause=0.2)
                for at in (Place.CLIENT, Place.SICK)
            )
        ),
        fails={"C94b": "answered by the same endpoint all the time", "C94f": "answered by one endpoint each"},
        passes=("C35",),
        at=None,
    ),
    Defect(
        "nft: flows of datagrams are cut",
        both(*(repeated(f"{FLUSH_SETS}; conntrack -D -p udp", at=at, pause=0.2) for at in (Place.CLIENT, Place.SICK))),
        fails={"C94b": "answered by the same endpoint all the time", "C94f": "answered by one endpoint each"},
        passes=("C35",),
        at=None,
        shape=NFTABLES,
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
    Defect(
        "nft: a node goes on to drop what is sent to the node port of a deleted Service",
        written("/^delete element .*no-endpoint-nodeports /d", program="nft"),
        fails={"C35": "no-endpoint-nodeports tcp"},
        passes=("C84",),
        shape=NFTABLES,
    ),
)
