"""kube-proxy in nftables mode: wrong rules and sets, elements that end too early or never."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Injection, Place
from tests.defects.inject import repeated, stopped
from tests.defects.inject import written as written_by

_SETS = "nft list sets table ip kube-proxy | sed -n 's/^.*set \\(affinity-[^ ]*\\) .*/\\1/p'"


def _each_set(verb: str, more: str = "") -> str:
    """Return the shell command that does something to every affinity set of a node."""
    return f"{_SETS} | while read -r set; do nft {verb} ip kube-proxy $set {more}; done"


def _written(sed: str, *, at: Place = Place.SICK) -> Injection:
    return written_by(sed, at=at, program="nft")


_FIRST_TWICE = r"s/numgen random mod 3 vmap \{ 0 : goto ([^ ,]+)/numgen random mod 4 vmap { 3 : goto \1 , 0 : goto \1/"
_OWN_CHAIN = r"^add rule ip kube-proxy service-([^ ]*affinity-norules[^ ]*) meta .*"
_OWN_SET = r"add set ip kube-proxy affinity-\1 { type ipv4_addr ; flags dynamic,timeout ; timeout 60s ; }"
_OWN_UPDATE = r"add rule ip kube-proxy service-\1 update @affinity-\1 { ip saddr }"

DEFECTS = (
    Defect(
        "nft: a Service has another Service's timeout",
        _written("/^add set /s/timeout (30|10800)s/timeout 3600s/"),
        fails={"C05": "3600", "C16n": "3600", "C20": "3600"},
        passes=("C10", "C14", "C15", "C17", "C18n", "C51"),
        shape=NFTABLES,
        fast=True,
    ),
    Defect(
        "nft: no affinity rule for one endpoint",
        _written(r"/ip saddr @ ?affinity-[^ ]*10\.10\.2\./d"),
        fails={"C15": r"10\.10\.2\.\d+", "C20": "affinity-"},
        passes=("C10", "C14", "C17", "C18n", "C51"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: a node updates no set",
        _written("/^add rule .* update @/d"),
        fails={"C12": "webpod", "C18n": "update", "C59": "no entry; expected entry"},
        passes=("C10", "C13", "C15", "C16n", "C17"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: the first endpoint is preferred",
        _written(_FIRST_TWICE),
        fails={"C17": "2 branches to"},
        passes=("C14", "C15", "C16n", "C18n", "C51"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: a Service without affinity updates a set",
        _written(rf"s#{_OWN_CHAIN}#{_OWN_SET}\n{_OWN_UPDATE}\n&#"),
        fails={"C19": "affinity-"},
        passes=("C15", "C16n", "C18n"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: kube-proxy hangs",
        stopped(),
        fails=dict.fromkeys(("C14", "C15", "C16n", "C18n", "C51"), "{sick}"),
        passes=("C10",),
        shape=NFTABLES,
    ),
    Defect(
        "nft: no affinity rules on the client's node",
        _written("/ip saddr @ ?affinity-/d", at=Place.CLIENT),
        fails={
            "C10": "endpoints answered.*in order:",
            "C12": "20 Services, each answered by one endpoint alone",
            "C15": "{client}",
            "C50": "100 of 100 requests answered by one endpoint",
            "C58": "51 of 51 requests answered by one endpoint",
        },
        passes=("C09",),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: the client's node updates no set",
        _written("/^add rule .* update @/d", at=Place.CLIENT),
        fails={"C13": "webpod", "C21s": "10800", "C59": "no entry; expected entry"},
        passes=("C09", "C21n"),
        at=Place.CLIENT,
        shape=NFTABLES,
    ),
    Defect(
        "nft: a node has an element of a client of another node",
        repeated(
            f"{_SETS} | while read -r set; do nft add element ip kube-proxy $set {{ 10.10.0.250 }}; done", pause=0.1
        ),
        fails={"C21n": r"10\.10\.0\.250", "C26": r"10\.10\.0\.250"},
        passes=("C10", "C13", "C21s"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: kube-proxy hangs before the patch",
        # Twenty ports of the shared wait have the default timeout for longer, a set for each of three endpoints.
        stopped(once="timeout 3h", times=60),
        fails={"C22": "10800"},
        passes=("C24",),
        shape=NFTABLES,
    ),
    Defect(
        "nft: sets are flushed all the time",
        repeated(_each_set("flush set"), at=Place.CLIENT, pause=0.2),
        fails={"C22n": "", "C23": "moved", "C24b": "moved", "C53": "moved"},
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: the timeout of the sets is the default",
        _written("/^add set /s/timeout 30s/timeout 10800s/", at=Place.CLIENT),
        fails={"C22": "10800", "C24": "0 of 15 moved", "C24c": "entries were renewed", "C25n": ""},
        passes=("C23", "C53"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: affinity rules use jump instead of goto",
        _written("s/( saddr @ ?affinity-[^ ]*) goto /\\1 jump /"),
        fails={"C16n": "jump endpoint-", "C20": "jump endpoint-"},
        passes=("C10", "C14", "C15", "C17", "C18n", "C51"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: endpoints are chosen in turn instead of at random",
        _written("s/numgen random mod 3/numgen inc mod 3/"),
        fails={"C17": "numgen inc mod 3, expected numgen random mod 3", "C20": "numgen inc mod 3"},
        passes=("C10", "C14", "C15", "C16n", "C18n", "C51"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: the cluster IP leads nowhere",
        # Not deleted: kube-proxy deletes it with the Service, and an element that is not there would make that fail.
        _written(r"s/( service-ips .* : )goto service-[^ ]*affinity-[^ ]*/\1drop/"),
        fails={"C51": r"tcp \. 9000 : drop", "C20": ": drop"},
        passes=("C10", "C14", "C15", "C16n", "C17", "C18n"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: a timeout patch flushes the sets",
        _written(
            r"s/^add set ip kube-proxy (affinity-[^ ]*) .*timeout 30s.*/&\nflush set ip kube-proxy \1/", at=Place.CLIENT
        ),
        fails={"C22": "on {client}: .*0 of 15 entries kept", "C22n": "on {client}, .*from before the patch"},
        passes=("C23", "C24", "C53"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: the timeout of the sets is shorter",
        _written("/^add set /s/timeout 30s/timeout 10s/", at=Place.CLIENT),
        fails={"C22": "timeout 10 s", "C23": "moved", "C24b": "moved", "C25n": "one element"},
        passes=("C24", "C53"),
        at=None,
        shape=NFTABLES,
    ),
)
