"""What a claim is, who can promise one, and what chance may cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Promise(StrEnum):
    """Who promises a behaviour."""

    API = "api"
    """The Service API: true on any dataplane."""
    KUBE_PROXY = "kube_proxy"
    """What kube-proxy does where no document says; other dataplanes may differ."""


API: Final = Promise.API
KUBE_PROXY: Final = Promise.KUBE_PROXY

IPTABLES: Final = ("iptables",)
NFTABLES: Final = ("nftables",)
BOTH: Final = ("iptables", "nftables")


@dataclass(frozen=True)
class Claim:
    """A promise that one test checks.

    ``source`` is where the promise is written: an API field, a KEP, a function of kube-proxy, a file of the kernel.
    ``dataplanes`` are those that a claim about what nodes hold can be judged on; empty for a claim about behaviour,
    which is judged on any. ``false_alarm`` bounds the probability that the test of a cluster that keeps the promise
    fails by chance; 0 for a claim without chance.
    """

    id: str
    title: str
    promised_by: Promise
    source: str
    dataplanes: tuple[str, ...] = ()
    false_alarm: float = 0.0


FREE_TRIALS: Final = 15
"""Services whose clients choose anew: all of them choosing the same of three endpoints again has chance 3 ** -15."""
ALL_STAY: Final = 3.0**-FREE_TRIALS
SPREAD_FALSE_ALARM: Final = 1e-7
"""The bound that the spread of 300 requests is judged by."""
CLIENTELE: Final = 8
"""Clients that ask the same Services, on all nodes that take pods."""
CLIENTELE_SERVICES: Final = 20
"""Services that the clientele asks: two clients that choose for themselves agree on all with chance 3 ** -20."""
CLIENTELE_SPREAD: Final = 1e-8
"""The bound that the spread of the clientele's first choices is judged by."""
CLIENTELE_FALSE_ALARM: Final = CLIENTELE * (CLIENTELE - 1) / 2 * 3.0**-CLIENTELE_SERVICES + CLIENTELE_SPREAD
"""Some two of the clientele agree on everything by chance, or all of them together look uneven."""
BUDGET: Final = 1e-6
"""What all claims of one run may come to."""

# Where promises are written, as far as several claims share the place.
FIELD: Final = "Service.spec.sessionAffinity"
TIMEOUT_FIELD: Final = "Service.spec.sessionAffinityConfig.clientIP.timeoutSeconds"
WRITE_RULES: Final = "kube-proxy pkg/proxy/iptables/proxier.go, writeServiceToEndpointRules"
SYNC_RULES: Final = "kube-proxy pkg/proxy/iptables/proxier.go, syncProxyRules"
SYNC_NFTABLES: Final = "kube-proxy pkg/proxy/nftables/proxier.go, syncProxyRules"
SYNC_BOTH: Final = "kube-proxy pkg/proxy/iptables/proxier.go and pkg/proxy/nftables/proxier.go, syncProxyRules"
XT_RECENT: Final = "Linux net/netfilter/xt_recent.c"
NFT_DYNSET: Final = "Linux net/netfilter/nft_dynset.c and nft_set_hash.c"
REMEMBERS: Final = "Linux net/netfilter/xt_recent.c and nft_dynset.c"
