"""Wrong rules on one node, as a broken kube-proxy would write them."""

from __future__ import annotations

from tests.defects.defect import Defect, Place
from tests.defects.inject import stopped, written

_ENDPOINT_2 = r"10\.10\.2\.[0-9]+"
"""The address of webpod2."""

DEFECTS = (
    Defect(
        "a Service has another Service's timeout",
        written("s/--seconds (30|10800) /--seconds 3600 /"),
        fails={
            "C05": "3 lists with 30 s.*3600 s",
            "C16": r"--seconds 3600, expected 10800",
            "C20": r"--seconds 10800.*--seconds 3600",
        },
        passes=("C10", "C14", "C15", "C17", "C18", "C51"),
        fast=True,
    ),
    Defect(
        "no rcheck rule for one endpoint",
        written(rf"/-> {_ENDPOINT_2}.*rcheck/d"),
        fails={"C15": r"10\.10\.2\.\d+:80", "C20": "rcheck"},
        passes=("C10", "C14", "C17", "C18", "C51"),
    ),
    Defect(
        "an rcheck rule matches a list that nothing sets",
        written(r"s/(--name KUBE-SEP-)[A-Z0-9]{8}([A-Z0-9]+ --rcheck)/\1AAAAAAAA\2/"),
        fails={"C16": "KUBE-SEP-AAAAAAAA", "C20": "KUBE-SEP-AAAAAAAA"},
        passes=("C14", "C15", "C17", "C18", "C51"),
    ),
    Defect(
        "an endpoint chain translates to another endpoint",
        written(rf"s/(--to-destination ){_ENDPOINT_2}:80/\110.10.2.99:80/"),
        fails={"C18": r"10\.10\.2\.99:80", "C20": r"10\.10\.2\.99:80"},
        passes=("C14", "C15", "C16", "C17", "C51"),
    ),
    Defect(
        "the first endpoint is preferred",
        written(r"s/0\.3333333333/0.5000000000/"),
        fails={"C17": r"0\.333\d+.*0\.5"},
        passes=("C14", "C15", "C16", "C18", "C51"),
    ),
    Defect(
        "chains have other names",
        written("s/KUBE-SVC-([A-Z0-9]{15})[A-Z0-9]/KUBE-SVC-\\1A/g"),
        fails={"C14": "no such chain", "C15": "no such chain", "C51": "KUBE-SVC-"},
        passes=("C10",),
    ),
    Defect(
        "the cluster IP leads nowhere",
        written("/^-A KUBE-SERVICES .*affinity-/d"),
        fails={"C51": "KUBE-SERVICES"},
        passes=("C10", "C15", "C16", "C17", "C18"),
    ),
    Defect(
        "a Service without affinity sets clients in a list",
        written(r"/affinity-norules/s/(-j DNAT)/-m recent --name NOBODY --set \1/"),
        fails={"C19": "-m recent"},
        passes=("C14", "C15", "C16", "C17", "C18", "C20"),
    ),
    Defect(
        "kube-proxy hangs",
        stopped(),
        fails=dict.fromkeys(("C14", "C15", "C16", "C18", "C51"), "{sick}"),
        passes=("C10",),
        at=Place.SICK,
    ),
)
