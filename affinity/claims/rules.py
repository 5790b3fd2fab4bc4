"""What the dataplane programs on each node."""

from typing import Final

from affinity.claims.claim import IPTABLES, KUBE_PROXY, SYNC_RULES, WRITE_RULES, Claim


def _claim(claim_id: str, title: str, source: str = WRITE_RULES) -> Claim:
    return Claim(claim_id, title, KUBE_PROXY, source, IPTABLES)


CLAIMS: Final = (
    _claim("C05", "The rules carry the Service's own timeout"),
    _claim("C14", "Chains have the computed names, and there are no others for the Service", SYNC_RULES),
    _claim("C15", "One rcheck rule an endpoint, in order, before any balancing rule"),
    _claim("C16", "Each rcheck rule has seconds, reap, its own list, the full mask and the source"),
    _claim("C17", "Balancing probabilities are 1/n, 1/(n-1), ... and none for the last"),
    _claim("C18", "Each endpoint chain remembers the client and translates in one rule", SYNC_RULES),
    _claim("C19", "Without affinity no rule of the Service remembers clients"),
    _claim("C20", "All nodes hold the same rules for the Service", SYNC_RULES),
    _claim("C51", "The cluster IP leads to the Service's chain", SYNC_RULES),
)
