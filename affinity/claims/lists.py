"""Whom the nodes remember."""

from typing import Final

from affinity.claims.claim import IPTABLES, KUBE_PROXY, XT_RECENT, Claim


def _claim(claim_id: str, title: str) -> Claim:
    return Claim(claim_id, title, KUBE_PROXY, XT_RECENT, IPTABLES)


CLAIMS: Final = (
    _claim("C21", "A client is in exactly one list, with a stamp for each connection"),
    _claim("C21n", "Nodes that the client is not on do not know it"),
    _claim("C26", "None forgets all clients, and ClientIP again starts with empty lists"),
    _claim("C52", "Moving the list entry moves the client"),
)
