"""Sources that claims cite, and their addresses on the web."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELD: Final = "Service.spec.sessionAffinity"
TIMEOUT_FIELD: Final = "Service.spec.sessionAffinityConfig.clientIP.timeoutSeconds"
SELECTOR_FIELD: Final = "Service.spec.selector"
NODE_PORT_FIELD: Final = "Service.spec.ports[].nodePort"
EXTERNAL_POLICY_FIELD: Final = "Service.spec.externalTrafficPolicy"
INTERNAL_POLICY_FIELD: Final = "Service.spec.internalTrafficPolicy"
EXTERNAL_IPS_FIELD: Final = "Service.spec.externalIPs"
LOAD_BALANCER_FIELD: Final = "Service.status.loadBalancer.ingress"
TRAFFIC_DISTRIBUTION_FIELD: Final = "Service.spec.trafficDistribution"
READY_CONDITION: Final = "EndpointSlice.endpoints.conditions.ready"
SERVER_SIDE_APPLY: Final = "server-side apply (KEP-555), over Service.spec.sessionAffinity and its configuration"
VALIDATION: Final = "kube-apiserver pkg/apis/core/validation/validation.go, validateService"
DEFAULTING: Final = "kube-apiserver pkg/apis/core/v1/defaults.go, SetDefaults_Service"
WARNINGS: Final = "kube-apiserver pkg/api/service/warnings.go, GetWarningsForService"

SYNC_BOTH: Final = "kube-proxy pkg/proxy/iptables/proxier.go and pkg/proxy/nftables/proxier.go, syncProxyRules"
SYNC_RULES: Final = "kube-proxy pkg/proxy/iptables/proxier.go, syncProxyRules"
SYNC_NFTABLES: Final = "kube-proxy pkg/proxy/nftables/proxier.go, syncProxyRules"
SYNC_AFTER_START: Final = (
    "kube-proxy pkg/proxy/iptables/proxier.go and nftables/proxier.go, syncProxyRules after a start"
)
WRITE_RULES: Final = "kube-proxy pkg/proxy/iptables/proxier.go, writeServiceToEndpointRules"
SHOULD_SKIP_SERVICE: Final = "kube-proxy pkg/proxy/util/utils.go, ShouldSkipService"
CATEGORIZE_ENDPOINTS: Final = "kube-proxy pkg/proxy/topology.go, CategorizeEndpoints"
TOPOLOGY_CHANGE: Final = "kube-proxy pkg/proxy/iptables/proxier.go and nftables/proxier.go, OnTopologyChange"
LOCALHOST_NODE_PORTS: Final = (
    "kubernetes #142183; kube-proxy pkg/proxy/localnodeportproxy/proxy.go and pkg/proxy/iptables/proxier.go,"
    " KubeProxyConfiguration.iptables.localhostNodePorts"
)
TERMINATING_ENDPOINTS: Final = "KEP-1669; kube-proxy pkg/proxy/topology.go, CategorizeEndpoints"
IPTABLES_MONITOR: Final = (
    "kube-proxy pkg/util/iptables/iptables.go, Monitor; KubeProxyConfiguration.iptables.syncPeriod"
)
FULL_SYNC: Final = (
    "kube-proxy pkg/proxy/nftables/proxier.go, syncProxyRules: a failed sync makes the next one a full one"
)
METRICS: Final = "kube-proxy pkg/proxy/metrics/metrics.go"

CONNTRACK: Final = "kube-proxy pkg/proxy/conntrack/cleanup.go, CleanStaleEntries"

AFFINITY_STORES: Final = "Linux net/netfilter/xt_recent.c and nft_dynset.c"
XT_RECENT: Final = "Linux net/netfilter/xt_recent.c"
NFT_DYNSET: Final = "Linux net/netfilter/nft_dynset.c and nft_set_hash.c"
NF_NAT: Final = "Linux net/netfilter/nf_nat_core.c: the nat table sees the first packet of a flow"

VIRTUAL_IPS: Final = "https://kubernetes.io/docs/reference/networking/virtual-ips/#session-affinity"
_API_REFERENCE: Final = "https://kubernetes.io/docs/reference/kubernetes-api/service-resources"
_PATTERNS: Final = (
    (re.compile(r"(?P<url>https?://\S+)"), "{url}"),
    (re.compile(r"Service\.(?:spec|status)\b"), f"{_API_REFERENCE}/service-v1/#ServiceSpec"),
    (re.compile(r"Service \(core/v1\)"), f"{_API_REFERENCE}/service-v1/"),
    (re.compile(r"EndpointSlice\b"), f"{_API_REFERENCE}/endpoint-slice-v1/"),
    (re.compile(r"KEP[- ]?(?P<number>\d+)"), "https://kep.k8s.io/{number}"),
    (re.compile(r"kube-(?:proxy|apiserver) (?P<path>[\w./-]+\.go)"), "https://github.com/kubernetes/kubernetes/blob/master/{path}"),
    (re.compile(r"kubernetes(?:/kubernetes)? ?#(?P<number>\d+)"), "https://github.com/kubernetes/kubernetes/issues/{number}"),
    (re.compile(r"Linux (?P<path>[\w./-]+\.[ch])"), "https://github.com/torvalds/linux/blob/master/{path}"),
)  # fmt: skip


def link(source: str) -> str:
    """Return the web address of a source as claims cite it; empty if the source is not of a form that has one."""
    for pattern, address in _PATTERNS:
        if match := pattern.search(source):
            return address.format(**match.groupdict())
    return ""


@dataclass(frozen=True)
class Citation:
    """What the Service API promises: the document, its words, and the clients that it promises it to."""

    document: str
    words: str
    client: str


ANY_CLIENT: Final = "every client, inside and outside the cluster"
PODS: Final = "clients in the cluster"
OUTSIDE: Final = "clients outside the cluster"
USERS: Final = "users of the API"

_SAME_POD: Final = Citation(
    VIRTUAL_IPS, "make sure that connections from a particular client are passed to the same Pod each time", ANY_CLIENT
)
_STICKY_TIME: Final = Citation(
    TIMEOUT_FIELD, "timeoutSeconds specifies the seconds of ClientIP type session sticky time.", ANY_CLIENT
)
_MAXIMUM_TIME: Final = Citation(VIRTUAL_IPS, "You can also set the maximum session sticky time", ANY_CLIENT)
_EVENLY: Final = Citation(
    INTERNAL_POLICY_FIELD,
    'The default value, "Cluster", uses the standard behavior of routing to all endpoints evenly',
    PODS,
)
_SELECTED: Final = Citation(
    "Service (core/v1), its description",
    "the selector that determines which pods will answer requests sent through the proxy",
    ANY_CLIENT,
)
_NONE_BY_DEFAULT: Final = Citation(FIELD, "Must be ClientIP or None. Defaults to None.", USERS)
_RANGE: Final = Citation(
    TIMEOUT_FIELD, 'The value must be >0 && <=86400(for 1 day) if ServiceAffinity == "ClientIP".', USERS
)
_DEFAULT_TIMEOUT: Final = Citation(TIMEOUT_FIELD, "Default value is 10800(for 3 hours).", USERS)

PROMISES: Final[Mapping[str, Citation]] = {
    "C02": _NONE_BY_DEFAULT,
    "C03": _DEFAULT_TIMEOUT,
    "C04": _RANGE,
    "C06": _RANGE,
    "C07": _DEFAULT_TIMEOUT,
    "C54": Citation(WARNINGS, "spec.SessionAffinity is ignored for headless services", USERS),
    "C55": Citation(
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts",
        "an `Apply` operation tries to change a field that another manager also claims to manage",
        USERS,
    ),
    "C56": Citation(
        "https://www.rfc-editor.org/rfc/rfc7396",
        "A JSON merge patch document describes changes to be made to a target JSON document",
        USERS,
    ),
    "C09": _EVENLY,
    "C60": _EVENLY,
    "C10": _SAME_POD,
    "C61": _SAME_POD,
    "C11": Citation(VIRTUAL_IPS, "you can select the session affinity based on the client's IP addresses", ANY_CLIENT),
    "C12": _SAME_POD,
    "C50": Citation(FIELD, 'Supports "ClientIP" and "None". Used to maintain session affinity.', ANY_CLIENT),
    "C58": _SAME_POD,
    "C44": Citation(
        "Service.spec.ports[].protocol", 'The IP protocol for this port. Supports "TCP", "UDP", and "SCTP".', ANY_CLIENT
    ),
    "C46": Citation(
        INTERNAL_POLICY_FIELD,
        "the proxy will assume that pods only want to talk to endpoints of the service on the same node as the pod",
        PODS,
    ),
    "C46b": Citation(INTERNAL_POLICY_FIELD, "dropping the traffic if there are no local endpoints", PODS),
    "C31": Citation(
        "Service.spec.type",
        "allocates a port on every node which routes to the same endpoints as the clusterIP",
        ANY_CLIENT,
    ),
    "C32": Citation(
        EXTERNAL_POLICY_FIELD, "each node will deliver traffic only to the node-local endpoints of the service", OUTSIDE
    ),
    "C32b": Citation(
        EXTERNAL_POLICY_FIELD, "Traffic mistakenly sent to a node with no endpoints will be dropped.", OUTSIDE
    ),
    "C66": Citation(
        EXTERNAL_IPS_FIELD,
        "a list of IP addresses for which nodes in the cluster will also accept traffic for this service",
        OUTSIDE,
    ),
    "C67": Citation(
        LOAD_BALANCER_FIELD,
        "traffic is delivered to the node with the destination set to the load-balancer's IP and port",
        OUTSIDE,
    ),
    "C27": Citation(READY_CONDITION, "ready indicates that this endpoint is ready to receive traffic", ANY_CLIENT),
    "C28": _SELECTED,
    "C29": _SAME_POD,
    "C30": _SELECTED,
    "C81": _SAME_POD,
    "C82": _SELECTED,
    "C88": Citation(
        INTERNAL_POLICY_FIELD,
        "the proxy will assume that pods only want to talk to endpoints of the service on the same node as the pod",
        PODS,
    ),
    "C89": _SAME_POD,
    "C23": _STICKY_TIME,
    "C24": _MAXIMUM_TIME,
    "C24d": _MAXIMUM_TIME,
    "C53": _STICKY_TIME,
    "C86": _SAME_POD,
}
"""What the Service API promises, by the id of the claim that judges it: every claim promised by the API is here.

"Dropped" is read as "answered by no endpoint": no document says whether the client gets an answer to that.
"""
