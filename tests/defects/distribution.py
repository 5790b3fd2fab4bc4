"""Clients that are sent to wrong endpoints; most of these defects affect only clients of one node."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import arranged, both, stopped, written


def _taken_over(verb: str) -> str:
    """Return the command that adds or removes a second translation of traffic to a node's own endpoint."""
    return (
        f"iptables -t nat {verb} PREROUTING -p tcp --dport 80 -j DNAT --to-destination $webpod3; "
        f"iptables -t nat {verb} POSTROUTING -p tcp -d $webpod3 --dport 80 -j MASQUERADE"
    )


DEFECTS = (
    Defect(
        # Half would not do: 300 requests spread 1/2, 1/4, 1/4 stay below the bound of C09 a third of the time.
        "three quarters of the requests go to the first endpoint",
        written(r"s/0\.3333333333/0.7500000000/", at=Place.CLIENT),
        fails={"C09": "not spread evenly", "C17": r"0\.75"},
        passes=("C10",),
        at=None,
    ),
    Defect(
        "no rcheck rules on the client's node",
        written("/--rcheck/d", at=Place.CLIENT),
        fails={
            "C10": "endpoints answered.*in order:",
            "C12": "20 Services, each answered by one endpoint alone",
            "C15": "{client}",
            "C50": "100 of 100 requests answered by one endpoint",
            "C58": "51 of 51 requests answered by one endpoint",
        },
        passes=("C09",),
        at=None,
        fast=True,
    ),
    Defect(
        "no rcheck rules on a node without the first client",
        written("/--rcheck/d"),
        fails={"C12": "webpod.*webpod", "C15": "rcheck"},
        passes=("C09", "C10", "C13", "C21", "C58"),
    ),
    Defect(
        "all clients of a node get the first endpoint",
        written(r"s/--probability 0\.3333333333/--probability 1.0000000000/"),
        fails={"C11": "the same for all of them: webpod1, webpod1", "C17": r"1\.0"},
        passes=("C09", "C10", "C12"),
        # With two of eight clients on that node, all first choices together may be uneven enough as well.
        at=None,
    ),
    Defect(
        "a node sets no client in its lists",
        written("/DNAT/s/-m recent --name [^ ]+ --set//"),
        fails={"C12": "webpod", "C18": "--set", "C59": "no entry; expected entry"},
        passes=("C10", "C11", "C13"),
    ),
    Defect(
        "the client's node sets no client in its lists",
        written("/DNAT/s/-m recent --name [^ ]+ --set//", at=Place.CLIENT),
        fails={"C13": "no entry in the lists", "C21": "one live entry", "C59": "no entry; expected entry"},
        passes=("C09", "C21n"),
        at=Place.CLIENT,
    ),
    Defect(
        "traffic is translated again to another endpoint",
        both(*(arranged(_taken_over("-I"), _taken_over("-D"), at=at) for at in (Place.WORKER, Place.SICK))),
        fails={"C09": "webpod3 300", "C49": "webpod3 answered, so the connection is translated to"},
        passes=("C05", "C14", "C16", "C20"),
        at=None,
    ),
    Defect(
        "kube-proxy hangs between two switches",
        stopped(once="svc-webport.*--rcheck"),
        fails={"C50": "recent|rcheck"},
        passes=("C09", "C10"),
    ),
    Defect(
        "rcheck rules on the client's node match lists that nothing sets",
        written(r"s/(--name KUBE-SEP-)[A-Z0-9]{8}([A-Z0-9]+ --rcheck)/\1AAAAAAAA\2/", at=Place.CLIENT),
        fails={"C16": "KUBE-SEP-AAAAAAAA", "C52": "all answered by webpod"},
        passes=("C09", "C18"),
        at=Place.CLIENT,
    ),
)
