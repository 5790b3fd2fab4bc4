"""Sources that claims cite, and their addresses on the web."""

from __future__ import annotations

import re
from typing import Final

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
TERMINATING_ENDPOINTS: Final = "KEP-1669; kube-proxy pkg/proxy/topology.go, CategorizeEndpoints"
IPTABLES_MONITOR: Final = (
    "kube-proxy pkg/util/iptables/iptables.go, Monitor; KubeProxyConfiguration.iptables.syncPeriod"
)
METRICS: Final = "kube-proxy pkg/proxy/metrics/metrics.go"

AFFINITY_STORES: Final = "Linux net/netfilter/xt_recent.c and nft_dynset.c"
XT_RECENT: Final = "Linux net/netfilter/xt_recent.c"
NFT_DYNSET: Final = "Linux net/netfilter/nft_dynset.c and nft_set_hash.c"
NF_NAT: Final = "Linux net/netfilter/nf_nat_core.c: the nat table sees the first packet of a flow"

_API_REFERENCE: Final = "https://kubernetes.io/docs/reference/kubernetes-api/service-resources"
_PATTERNS: Final = (
    (re.compile(r"(?P<url>https?://\S+)"), "{url}"),
    (re.compile(r"Service\.(?:spec|status)\b"), f"{_API_REFERENCE}/service-v1/#ServiceSpec"),
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
