"""Where to look when claims fail: by the claims that fail and pass together, and by subject.

docs/reading-a-failure.md has the same table; a test compares them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ID: Final = re.compile(r"C\d+[a-z]*")


@dataclass(frozen=True)
class Advice:
    """Where to look when some claims fail while others pass. ``fails`` and ``passes`` name them in words."""

    fails: str
    passes: str
    look_at: str

    @property
    def claims(self) -> frozenset[str]:
        """The ids of the claims whose failure it is about."""
        return frozenset(_ID.findall(self.fails))


ADVICE: Final = (
    Advice(
        "C10, C13, C21 or C21s",
        "C14 to C18",
        "the kernel's lists and sets: does `xt_recent` work as it should, does something flush or overflow them"
        " (100 clients a list, 65535 a set)?",
    ),
    Advice(
        "C15, C16, C18 or C18n on one node",
        "C10",
        "kube-proxy on that node, which programmed wrong rules; the client is on another node, so its requests do not"
        " show it",
    ),
    Advice("C20", "C14 to C18", "versions and settings of kube-proxy: each node is right by itself, but they differ"),
    Advice(
        "C22 on one node",
        "C14 to C18",
        "kube-proxy on that node, which stopped between two changes: its log, its `sync_proxy_rules_*` metrics",
    ),
    Advice(
        "C22 in nftables mode on every node",
        "C05",
        "the kernel: before 6.2, without the fix 123b99619cca, it takes no new timeout for a set that exists",
    ),
    Advice(
        "C22n",
        "C22",
        "what removes or renews elements of the set: an element from before a patch keeps its old expiry until the next"
        " connection",
    ),
    Advice(
        "C24",
        "C22 and C23",
        "what renews the entry, which outlives its timeout although the rules are right; C24c shows whether traffic on"
        " an open connection does",
    ),
    Advice("C23", "C24", "what removes affinity entries: they are gone before their timeout"),
    Advice(
        "C27, C28, C34 or C81 on one node",
        "C29",
        "that node's kube-proxy, which no longer follows: its log, and whether its watch of EndpointSlices is alive",
    ),
    Advice(
        "C28",
        "C27 and C81",
        "the path between pod and node, not at Services: requests are lost although the client's node has followed",
    ),
    Advice(
        "C35 or C84",
        "C14 to C18",
        "what stays of a deleted Service: rules of others that refer to its chains keep kube-proxy from deleting them",
    ),
    Advice(
        "C40b or C40c",
        "C40",
        "the first sync of kube-proxy and how it differs from later ones: it trusts what it finds instead of writing"
        " everything",
    ),
    Advice(
        "C92",
        "C40b",
        "what kube-proxy forgets when a sync fails: the changes of a failed sync are to be part of the next one",
    ),
    Advice(
        "C94, C94c or C94d",
        "C29",
        "conntrack: kube-proxy removes the entries of datagrams whose endpoint is gone after it has written rules; see"
        " in its log whether it may list and delete them",
    ),
    Advice(
        "C41b",
        "C14 to C18",
        "kube-proxy's log, which has what the kernel or another program refused: syncs fail and succeed when repeated",
    ),
    Advice(
        "C31 through one node",
        "C10",
        "the node whose node port is used: its rules (C65) and its affinity entries (C31b)",
    ),
    Advice(
        "C31c",
        "C31",
        "what answers at localhost: in nftables mode a listener of kube-proxy itself (its log), in iptables mode rules,"
        " and the sysctl net.ipv4.conf.all.route_localnet",
    ),
    Advice(
        "C31b, C42 or C43b",
        "C31 and C43",
        "what translates the client's address before the node sees it, or whether two nodes share affinity entries",
    ),
    Advice(
        "C32, C32b or C32d",
        "C32c",
        "what traffic from outside meets before kube-proxy's rules, and whether it is taken for the cluster's own",
    ),
    Advice(
        "C33",
        "C31b",
        "the node that the client enters by, which does not translate, or the node behind it, which distinguishes"
        " clients by more than their address",
    ),
    Advice(
        "C36 or C36b",
        "C10",
        "the dataplane: it binds a client to a pod instead of a port, which the API allows and kube-proxy does not do",
    ),
    Advice(
        "C44b",
        "C44",
        "conntrack: connections of datagrams are not tracked, or their entries are removed while they are in use",
    ),
    Advice(
        "C47",
        "C47b",
        "the zone of the client's node, which is not the one assumed: its label `topology.kubernetes.io/zone`, the"
        " hints in the EndpointSlices",
    ),
    Advice(
        "C09",
        "C17",
        "who answers first: the probabilities are right, yet the spread is not, as where another dataplane answers or"
        " an endpoint is slow",
    ),
)
SUBJECT_ADVICE: Final = {
    "api_fields": "the API server: its version, and admission webhooks or policies that change Services",
    "distribution": "the claims about rules (C14 to C18) and entries (C21): where they fail too, kube-proxy is wrong on"
    " the nodes they name; where they pass, the kernel is, or another dataplane answers",
    "rules": "kube-proxy on the nodes that the failure names: its log, its configuration (127.0.0.1:10249/configz), its"
    " version, and other programs that write rules",
    "lists": "the affinity entries of the nodes that the failure names (/proc/net/xt_recent/, or"
    " `nft list table ip kube-proxy`), and programs that flush them",
    "dual_stack": "the same subject on a cluster with one IP family: what fails there too is not about two families",
    "paths": "the node whose address was used, and what translates addresses before it: load balancers, masquerading, a"
    " CNI with a dataplane of its own",
    "limits": "the kernel's limits: ip_list_tot and ip_pkt_list_tot of xt_recent, the size of the nftables set",
    "endpoint_changes": "how soon kube-proxy followed the EndpointSlices: its log, and"
    " `kubeproxy_sync_proxy_rules_*` of its metrics",
    "shapes": "the smallest shape in the message: `kubectl apply` it, and read the rules of the node that it names;"
    " docs/shapes.md",
    "walks": "the steps in the message, which are commands: repeat them, and read the rules of the node that it names;"
    " `session-affinity walk` looks for fewer",
    "expiry": "the timeout in the rules (C05, C16, C22) first, then what renews or removes affinity entries",
    "disruption": "kube-proxy's log around the moment that the failure names, and its syncPeriod",
}
"""What to look at when a claim of a subject fails, whatever the others do."""


def advice_for(claim_id: str) -> tuple[Advice, ...]:
    """Return the advice about failures of a claim."""
    return tuple(advice for advice in ADVICE if claim_id in advice.claims)


def table() -> str:
    """Return the advice as a Markdown table, a line each."""
    rows = (f"| {advice.fails} | {advice.passes} | {advice.look_at} |" for advice in ADVICE)
    return "\n".join(("| fails | passes | look at |", "|---|---|---|", *rows))
