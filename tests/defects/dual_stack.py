"""Defects of the second IP family alone: claims about IPv4 hold meanwhile."""

from __future__ import annotations

from tests.defects.defect import Defect, Place, Shape
from tests.defects.inject import written

IPTABLES = Shape("iptables", ("--ip-family=dual",))
NFTABLES = Shape("nftables", ("--ip-family=dual",))
_IPV6 = "ip6tables-restore"

DEFECTS = (
    Defect(
        "IPv6 rules have another Service's timeout",
        written("s/--seconds 10800 /--seconds 3600 /", program=_IPV6),
        fails={"C45": "--seconds 3600, expected 10800"},
        passes=("C16", "C61", "C64"),
        shape=IPTABLES,
    ),
    Defect(
        "IPv6 rules keep the old timeout",
        written("s/--seconds 600 /--seconds 10800 /", program=_IPV6),
        fails={"C64": "--seconds 10800, expected 600"},
        passes=("C45",),
        shape=IPTABLES,
    ),
    Defect(
        "no IPv6 rcheck rules on the client's node",
        written("/--rcheck/d", at=Place.CLIENT, program=_IPV6),
        fails={
            "C45": "rcheck",
            "C61": "endpoints answered.*in order:",
            "C63": "IPv6: all answered by webpod",
            "C64": "rcheck",
        },
        passes=("C10", "C13", "C60"),
        at=None,
        shape=IPTABLES,
    ),
    Defect(
        "the client's node sets no IPv6 client in its lists",
        written("/DNAT/s/-m recent --name [^ ]+ --set//", at=Place.CLIENT, program=_IPV6),
        fails={"C45": "--set", "C61": "endpoints answered.*in order:", "C62": "IPv6: one live entry.*seen: no entry"},
        passes=("C10", "C21", "C60"),
        at=None,
        shape=IPTABLES,
    ),
    Defect(
        "IPv6 rcheck rules compare only the network",
        written("s/-m recent /-m recent --mask ffff:ffff:ffff:ffff:: /", at=Place.CLIENT, program=_IPV6),
        fails={"C45": "--mask ffff:ffff:ffff:ffff::", "C62": "(:0000){4} with 20 stamps"},
        passes=("C10", "C16", "C61"),
        at=Place.CLIENT,
        shape=IPTABLES,
    ),
    Defect(
        "three quarters of the IPv6 requests go to the first endpoint",
        written(r"s/0\.3333333333/0.7500000000/", at=Place.CLIENT, program=_IPV6),
        fails={"C45": r"0\.75", "C60": "not spread evenly"},
        passes=("C09", "C61"),
        at=None,
        shape=IPTABLES,
    ),
    Defect(
        "nft: IPv6 sets have another Service's timeout",
        written("/^add set ip6 /s/timeout 10800s/timeout 3600s/", program="nft"),
        fails={"C45": "3600"},
        passes=("C16n", "C61"),
        shape=NFTABLES,
    ),
)
