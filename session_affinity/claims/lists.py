"""Whom the nodes remember: in lists of iptables mode, in sets of nftables mode.

C21s is the nftables sibling of C21, whose stamps a set does not have; C21n was taken.
"""

from typing import Final

from session_affinity.claims.claim import BOTH, IPTABLES, KUBE_PROXY, NFT_DYNSET, NFTABLES, REMEMBERS, XT_RECENT, Claim


def _claim(claim_id: str, title: str, source: str = REMEMBERS, dataplanes: tuple[str, ...] = BOTH) -> Claim:
    return Claim(claim_id, title, KUBE_PROXY, source, dataplanes)


CLAIMS: Final = (
    _claim("C21", "A client is in exactly one list, with a stamp for each connection", XT_RECENT, IPTABLES),
    _claim("C21s", "A client is in exactly one set, for as long as the timeout says", NFT_DYNSET, NFTABLES),
    _claim("C21n", "Nodes that the client is not on do not know it"),
    _claim("C26", "None forgets all clients, and ClientIP again starts with none"),
    _claim("C52", "Moving the entry moves the client"),
)
