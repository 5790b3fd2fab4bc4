"""What a claim is, who promises it, and where the promise is written. The claims themselves stand on their tests."""

from session_affinity.claims.claim import (
    API,
    BOTH_MODES,
    IPTABLES,
    KUBE_PROXY,
    NFTABLES,
    Claim,
    Promise,
)

__all__ = ["API", "BOTH_MODES", "IPTABLES", "KUBE_PROXY", "NFTABLES", "Claim", "Promise"]
