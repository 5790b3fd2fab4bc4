"""What becomes of clients when endpoints and Services come and go."""

from typing import Final

from session_affinity.claims.claim import API, BOTH, FIELD, KUBE_PROXY, Claim

_SELECTOR: Final = "Service.spec.selector"
_READY: Final = "EndpointSlice.endpoints.conditions.ready"
_TERMINATING: Final = "KEP-1669; kube-proxy pkg/proxy/topology.go, CategorizeEndpoints"
_CLEANUP: Final = "kube-proxy pkg/proxy/iptables/proxier.go and nftables/proxier.go, syncProxyRules"

CLAIMS: Final = (
    Claim("C27", "A client whose endpoint is not ready any more is bound to another", API, _READY),
    Claim("C80", "An endpoint that is ready again does not take its former clients back", KUBE_PROXY, _CLEANUP),
    Claim("C28", "A client whose pod is deleted is bound to another once the node knows", API, FIELD),
    Claim("C39", "A pod made again under its name, at another address, starts without clients", KUBE_PROXY, _CLEANUP),
    Claim("C29", "Scaling up moves no client", API, FIELD),
    Claim("C30", "Without endpoints nobody answers, and affinity is back with the endpoints", API, FIELD),
    Claim("C81", "A rolling update keeps a client while its endpoint is there, and loses no request", API, FIELD),
    Claim("C82", "A changed selector binds clients to the pods it selects, and loses no request", API, _SELECTOR),
    Claim(
        "C34", "Terminating endpoints serve their clients while none is ready, and only then", KUBE_PROXY, _TERMINATING
    ),
    Claim("C34b", "With a Local policy that holds for the node's own endpoints", KUBE_PROXY, _TERMINATING),
    Claim(
        "C34c", "Nodes' rules for outside traffic use their own terminating endpoints", KUBE_PROXY, _TERMINATING, BOTH
    ),
    Claim("C83", "Another port number keeps the clients", KUBE_PROXY, _CLEANUP, BOTH),
    Claim("C83b", "Another port name forgets them", KUBE_PROXY, _CLEANUP, BOTH),
    Claim("C84", "A Service made again under its name starts without clients", KUBE_PROXY, _CLEANUP, BOTH),
    Claim("C35", "Of a deleted Service nothing is left on any node", KUBE_PROXY, _CLEANUP, BOTH),
)
