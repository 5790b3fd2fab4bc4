"""When a client is forgotten.

An id that ends in n is of nftables mode alone: there an element has its own expiry, and is gone when that is over.
"""

from typing import Final

from session_affinity.claims.claim import (
    ALL_STAY,
    API,
    BOTH,
    IPTABLES,
    KUBE_PROXY,
    NFT_DYNSET,
    NFTABLES,
    REMEMBERS,
    SYNC_BOTH,
    TIMEOUT_FIELD,
    XT_RECENT,
    Claim,
)

CLAIMS: Final = (
    Claim("C22", "A patched timeout reaches every node and keeps the entries", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim(
        "C22n",
        "A client known before a patch keeps its old expiry until its next connection",
        KUBE_PROXY,
        NFT_DYNSET,
        NFTABLES,
    ),
    Claim("C23", "A silent client is kept until just before the timeout", API, TIMEOUT_FIELD),
    Claim("C24", "A silent client is free just after the timeout", API, TIMEOUT_FIELD, false_alarm=ALL_STAY),
    Claim("C24b", "Every new connection renews the timeout", API, TIMEOUT_FIELD),
    Claim("C24c", "Traffic on an open connection does not renew it", KUBE_PROXY, REMEMBERS, false_alarm=ALL_STAY),
    Claim(
        "C25",
        "An expired entry stays listed and binds no one",
        KUBE_PROXY,
        XT_RECENT,
        IPTABLES,
        false_alarm=ALL_STAY,
    ),
    Claim("C25n", "A client is gone from its set when the timeout is over", KUBE_PROXY, NFT_DYNSET, NFTABLES),
    Claim("C53", "A Service left at 10800 seconds keeps its clients meanwhile", API, TIMEOUT_FIELD),
)
