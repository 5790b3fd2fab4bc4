"""What the dataplane programs on each node.

An id that ends in n is the nftables sibling of the iptables claim of that number, where what is promised differs.
"""

from typing import Final

from session_affinity.claims.claim import (
    BOTH,
    IPTABLES,
    KUBE_PROXY,
    NFTABLES,
    SYNC_BOTH,
    SYNC_NFTABLES,
    SYNC_RULES,
    WRITE_RULES,
    Claim,
)


def _claim(claim_id: str, title: str, source: str = SYNC_BOTH, dataplanes: tuple[str, ...] = BOTH) -> Claim:
    return Claim(claim_id, title, KUBE_PROXY, source, dataplanes)


CLAIMS: Final = (
    _claim("C05", "The Service's own timeout is programmed"),
    _claim("C14", "Chains have the computed names, and there are no others for the Service"),
    _claim("C15", "One affinity rule an endpoint, in order, before any balancing rule"),
    _claim(
        "C16",
        "Each rcheck rule has seconds, reap, its own list, the full mask and the source",
        WRITE_RULES,
        IPTABLES,
    ),
    _claim(
        "C16n",
        "Each affinity rule asks its endpoint's own set, which has the Service's timeout",
        SYNC_NFTABLES,
        NFTABLES,
    ),
    _claim("C17", "Balancing gives each of n endpoints the chance 1/n"),
    _claim("C18", "Each endpoint chain remembers the client and translates in one rule", SYNC_RULES, IPTABLES),
    _claim("C18n", "Each endpoint chain renews the client in its own set, then translates", SYNC_NFTABLES, NFTABLES),
    _claim("C19", "Without affinity no rule of the Service remembers clients"),
    _claim("C20", "All nodes hold the same rules for the Service"),
    _claim("C51", "The cluster IP leads to the Service's chain"),
)
