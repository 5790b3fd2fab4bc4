"""Traffic paths that lead to wrong endpoints, make no affinity entries, or pass what should be dropped."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place
from tests.defects.inject import arranged, repeated, written

_NO_SET = r"s/-m recent --name [^ ]+ --set//"
_FIRST_ALWAYS = r"s/--probability 0\.3333333333/--probability 1.0000000000/"
_ASKED_OF_ONE = r"s/(affinity-both-.* -> 10\.10\.([0-9]+)\..* --name )KUBE-SEP-[A-Z0-9]+/\1SHARED\2/"
_SET_FOR_ONE = (
    r"s/(affinity-both-.* --name )KUBE-SEP-[A-Z0-9]+( --set .*--to-destination 10\.10\.([0-9]+)\.)/\1SHARED\3\2/"
)
"""One list for all ports of a pod: it binds a client to the pod instead of to one port of it."""

_LEADS_ELSEWHERE = (
    "/affinity-internallocal-.*has no local endpoints/{h; d}; "
    r"/^\*nat/,/^COMMIT/{/^COMMIT/{x; s/has no local endpoints(.*) -j DROP/leads elsewhere\1 "
    r"-j DNAT --to-destination 10.10.2.2:80/; /DNAT/p; x}}"
)
"""In place of the rule that drops, in the filter table, a rule in the nat table, which comes after it."""


def _split_at_localhost(verb: str) -> str:
    """Return the command that adds or removes rules by which two pods take turns in answering at localhost."""
    to_localhost = f"iptables -t nat {verb} OUTPUT -d 127.0.0.0/8 -p tcp --dport 30000:32767"
    return (
        f"{to_localhost} -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination $webpod2:80; "
        f"{to_localhost} -m statistic --mode nth --every 2 --packet 1 -j DNAT --to-destination $webpod3:80; "
        f"iptables -t nat {verb} POSTROUTING -s 127.0.0.0/8 ! -o lo -j MASQUERADE"
    )


DEFECTS = (
    Defect(
        "no rcheck rules for the node port of one node",
        written("/affinity-nodeport-.*rcheck/d"),
        fails={"C31": "through {sick}.*in order:", "C65": "{sick}.*rcheck"},
        passes=("C10", "C31b", "C32", "C32c", "C66b", "C42"),
        at=None,
        fast=True,
    ),
    Defect(
        "the node port of one node leads nowhere",
        written("/^-A KUBE-NODEPORTS .*affinity-nodeport-/d"),
        fails={"C31": "through {sick}", "C65": "{sick}.*KUBE-NODEPORTS: no external rule"},
        passes=("C10", "C31b", "C32"),
        at=None,
    ),
    Defect(
        "connections to localhost are spread over pods",
        arranged(_split_at_localhost("-I"), _split_at_localhost("-D"), at=Place.WORKER),
        fails={"C31c": r"at localhost of \S+-worker\b.*in order:"},
        passes=("C31", "C31b", "C65"),
        at=None,
    ),
    Defect(
        "node ports at localhost lead nowhere",
        arranged(
            "sysctl -qw net.ipv4.conf.all.route_localnet=0",
            "sysctl -qw net.ipv4.conf.all.route_localnet=1",
            at=Place.WORKER,
        ),
        fails={"C31c": r"at localhost of \S+-worker\b"},
        passes=("C31", "C65"),
        at=None,
    ),
    Defect(
        "clients from outside are not masqueraded",
        written("/^-A KUBE-EXT-.*affinity-nodeport-.*KUBE-MARK-MASQ/d"),
        fails={"C65": "KUBE-EXT-.*KUBE-MARK-MASQ"},
        passes=("C31b", "C32c", "C66b"),
    ),
    Defect(
        "the node of a node port sets no client in its lists",
        written(rf"/affinity-unused-.*DNAT/{_NO_SET}"),
        fails={"C31b": "expected: entry 172.*seen: no entry in its"},
        passes=("C31", "C65"),
    ),
    Defect(
        "with externalTrafficPolicy Local traffic goes to all endpoints",
        written(rf"s/^(-A KUBE-EXT-[A-Z0-9]+ )-j KUBE-SVL-/\1-j KUBE-SVC-/; /affinity-externallocal-/{_FIRST_ALWAYS}"),
        fails={
            "C32": "through {sick}.*all answered by webpod2.*failed 10: curl 28",
            "C32c": "{sick}.*KUBE-SVL.*KUBE-SVC",
        },
        passes=("C31", "C32b", "C32d", "C65", "C46"),
        at=None,
    ),
    Defect(
        "with externalTrafficPolicy Local a node without endpoints refuses",
        written("/affinity-externallocal-.*has no local endpoints/d", at=Place.CLIENT),
        fails={
            "C32d": "through {client}.*nothing comes back.*curl 7",
            "C32c": "{client}.*KUBE-EXTERNAL-SERVICES: no refusal rule",
        },
        passes=("C32", "C32b"),
        at=None,
    ),
    Defect(
        "with externalTrafficPolicy Local a node without endpoints leads to those of other nodes",
        written(
            "/affinity-externallocal-.*has no local endpoints/d; "
            "/^-A KUBE-EXT-.*affinity-externallocal-/s/-m addrtype --src-type LOCAL //",
            at=Place.CLIENT,
        ),
        fails={
            "C32b": "through {client}.*no endpoint answers.*webpod",
            "C32d": "through {client}.*nothing comes back.*webpod",
            "C32c": "{client}.*KUBE-EXT-",
        },
        passes=("C32", "C31"),
        at=None,
    ),
    Defect(
        "the node in front does no SNAT",
        written("/masquerade traffic for [^ ]*affinity-front-/d"),
        fails={"C33": r"one entry, of another address than.*10\.10\.0\."},
        passes=("C31", "C31b"),
        at=Place.OTHER,
    ),
    Defect(
        "no rcheck rules for external addresses on the client's node",
        written("/affinity-(externalip|loadbalancer)-.*rcheck/d", at=Place.CLIENT),
        fails=dict.fromkeys(("C66", "C67"), r"at 198\.51\.100\..*in order:")
        | dict.fromkeys(("C66b", "C67b"), "{client}.*rcheck"),
        passes=("C31", "C65"),
        at=None,
    ),
    Defect(
        "external addresses bypass the external chain",
        written(r"/(external|loadbalancer) IP\"/s/-j KUBE-EXT-/-j KUBE-SVC-/"),
        fails=dict.fromkeys(("C66b", "C67b"), "KUBE-SERVICES.*KUBE-SVC-"),
        passes=("C66", "C67", "C65"),
    ),
    Defect(
        "a hostNetwork client gets no affinity entry",
        written(rf"/affinity-clusterip-.*DNAT/{_NO_SET}", at=Place.WORKER),
        fails={"C42": "in order:.*expected: entry 172"},
        passes=("C43b", "C46"),
        at=None,
    ),
    Defect(
        "hairpin traffic is not masqueraded",
        written(r"/affinity-hairpin-.* -s [0-9.]+ -j KUBE-MARK-MASQ/d", at=Place.WORKER),
        fails={"C43": "answered by affinity-hairpin.*curl 28"},
        passes=("C42", "C46"),
        at=None,
    ),
    Defect(
        "a hairpin client gets no affinity entry",
        written(rf"/affinity-hairpin-.*DNAT/{_NO_SET}", at=Place.WORKER),
        fails={"C43b": r"expected: entry 10\.10\.1\."},
        passes=("C42", "C43"),
        at=Place.WORKER,
    ),
    Defect(
        "with internalTrafficPolicy Local a client is sent to another node",
        written(r"/affinity-internallocal-.*DNAT/s/10\.10\.1\.[0-9]+:80/10.10.2.2:80/", at=Place.WORKER),
        fails={"C46": "all answered by webpod1.*webpod2", "C46c": r"10\.10\.2\.2:80"},
        passes=("C42", "C46b", "C46d"),
        at=None,
    ),
    Defect(
        "with internalTrafficPolicy Local a node without endpoints refuses",
        written("/affinity-internallocal-.*has no local endpoints/s/-j DROP/-j REJECT/", at=Place.CLIENT),
        fails={"C46d": "nothing comes back.*curl 7", "C46c": "{client}.*KUBE-SERVICES.*REJECT"},
        passes=("C46", "C46b"),
        at=None,
    ),
    Defect(
        "with internalTrafficPolicy Local a node without endpoints leads to those of another node",
        written(_LEADS_ELSEWHERE, at=Place.CLIENT),
        fails={"C46b": "no endpoint answers.*webpod2", "C46d": "nothing comes back.*webpod2"},
        passes=("C46", "C42"),
        at=None,
    ),
    Defect(
        "a client is sent out of its zone",
        written(r"/affinity-zoned.*DNAT/s/10\.10\.2\.[0-9]+:80/10.10.3.2:80/", at=Place.CLIENT),
        fails={"C47": "all answered by webpod1 or webpod2.*webpod3", "C47b": r"{client}.*10\.10\.3\.2:80"},
        passes=("C10", "C31"),
        at=None,
    ),
    Defect(
        "a node does not follow its zone",
        written(r"/affinity-zoned.*DNAT/s/10\.10\.3\.[0-9]+:80/10.10.2.2:80/", at=Place.CLIENT),
        fails={"C47c": "webpod2"},
        passes=("C47", "C47b"),
        at=None,
    ),
    Defect(
        "nft: a node does not follow its zone",
        written(
            r"/^add rule .*affinity-zoned/s/dnat to 10\.10\.3\.[0-9]+:80/dnat to 10.10.2.2:80/",
            at=Place.CLIENT,
            program="nft",
        ),
        fails={"C47c": "webpod2"},
        passes=("C47", "C47b"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "all ports of an endpoint share one list",
        written(f"{_ASKED_OF_ONE}; {_SET_FOR_ONE}", at=Place.CLIENT),
        fails={"C36": "0 of 17 .*all are the same", "C36b": "0 of 18 .*all are the same"},
        passes=("C10", "C44"),
        at=None,
    ),
    Defect(
        "no rcheck rules for many ports",
        written("/affinity-both-.*rcheck/d", at=Place.CLIENT),
        fails=dict.fromkeys(("C36", "C36b", "C44"), "answered by one endpoint.*in order:"),
        passes=("C10", "C44b"),
        at=None,
    ),
    Defect(
        "UDP clients are bound for too long",
        written("/affinity-brief-/s/--seconds 1 /--seconds 10800 /", at=Place.CLIENT),
        fails={"C44b": "renewed the timeout"},
        passes=("C36b", "C44"),
        at=None,
    ),
    Defect(
        "conntrack entries of UDP flows are deleted while in use",
        repeated("conntrack -D -p udp", at=Place.CLIENT, pause=0.02),
        fails={"C44b": "each flow stays where it began"},
        passes=("C36", "C44"),
        at=None,
    ),
    Defect(
        "nft: no affinity rules for the node port of one node",
        written("/^add rule .*service-[^ ]*affinity-nodeport-[^ ]* ip saddr @ ?affinity-/d", program="nft"),
        fails={"C31": "through {sick}.*in order:", "C65": "{sick}.*affinity"},
        passes=("C10", "C31b", "C32", "C32c", "C66b"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: the node port of one node leads nowhere",
        written("/^add element .*service-nodeports .*affinity-nodeport-/d", program="nft"),
        fails={"C31": "through {sick}", "C65": "{sick}.*service-nodeports"},
        passes=("C10", "C31b", "C32"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: with externalTrafficPolicy Local traffic goes to all endpoints",
        written(
            r"s/^(add rule .* external-[^ ]*affinity-externallocal-[^ ]* )goto local-/\1goto service-/", program="nft"
        ),
        fails={"C32c": "external-.*goto local-.*goto service-"},
        passes=("C31", "C32b", "C32d", "C65"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: with externalTrafficPolicy Local a node without endpoints does not drop",
        written("/^add element .*no-endpoint-nodeports .*affinity-externallocal-/d", at=Place.CLIENT, program="nft"),
        fails={"C32d": "through {client}.*nothing comes back", "C32c": "{client}.*no-endpoint-nodeports"},
        passes=("C31", "C32", "C32b"),
        at=None,
        shape=NFTABLES,
    ),
    Defect(
        "nft: the node of a node port updates no set",
        written("/^add rule .*endpoint-[^ ]*affinity-(unused|clusterip|hairpin)-[^ ]* update @/d", program="nft"),
        fails={"C31b": "expected: entry 172"},
        passes=("C31", "C65"),
        shape=NFTABLES,
    ),
)
