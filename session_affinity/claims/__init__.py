"""Claims: their definition, who promises them, and the sources of the promises. Each claim is defined on its test."""

from session_affinity.claims.claim import (
    API,
    BOTH_MODES,
    IPTABLES,
    KUBE_PROXY,
    NFTABLES,
    Claim,
    Promise,
)
from session_affinity.claims.known_behaviour import KnownBehaviour

__all__ = ["API", "BOTH_MODES", "IPTABLES", "KUBE_PROXY", "NFTABLES", "Claim", "KnownBehaviour", "Promise"]
