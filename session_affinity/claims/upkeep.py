"""What becomes of rules and clients when kube-proxy stops, and when somebody else changes what it wrote."""

from typing import Final

from session_affinity.claims.claim import API, BOTH, FIELD, IPTABLES, KUBE_PROXY, SYNC_RULES, Claim

_START: Final = "kube-proxy pkg/proxy/iptables/proxier.go and nftables/proxier.go, syncProxyRules after a start"
_MONITOR: Final = "kube-proxy pkg/util/iptables/iptables.go, Monitor; KubeProxyConfiguration.iptables.syncPeriod"
_METRICS: Final = "kube-proxy pkg/proxy/metrics/metrics.go"

CLAIMS: Final = (
    Claim("C41b", "No kube-proxy failed to write its rules", KUBE_PROXY, _METRICS, BOTH),
    Claim("C40", "A restart of kube-proxy loses no request and no client", KUBE_PROXY, _START, BOTH),
    Claim("C40b", "What changed while kube-proxy stood still is right after its restart", KUBE_PROXY, _START, BOTH),
    Claim(
        "C40c",
        "A kube-proxy killed while it writes leaves nothing behind that its restart does not mend",
        KUBE_PROXY,
        _START,
        BOTH,
    ),
    Claim(
        "C41",
        "A rule in the way of one Service stops no other, and goes with its next change",
        KUBE_PROXY,
        SYNC_RULES,
        BOTH,
    ),
    Claim("C48", "Rules that somebody flushed are back within the sync period", KUBE_PROXY, _MONITOR, IPTABLES),
    Claim("C86", "A thousand further Service ports change no verdict", API, FIELD),
)
