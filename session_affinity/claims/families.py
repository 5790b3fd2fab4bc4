"""What holds in both IP families of a dual-stack cluster, each for itself."""

from typing import Final

from session_affinity.claims.claim import API, BOTH, FIELD, KUBE_PROXY, REMEMBERS, SPREAD_FALSE_ALARM, SYNC_BOTH, Claim

CLAIMS: Final = (
    Claim("C45", "A dual-stack Service has the computed rules in both IP families", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim(
        "C60",
        "In the second IP family too, requests spread over all endpoints without affinity",
        API,
        FIELD,
        false_alarm=SPREAD_FALSE_ALARM,
    ),
    Claim("C61", "In the second IP family too, a client's requests all reach one endpoint", API, FIELD),
    Claim("C62", "In each IP family a node remembers a client once, by its address there", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C63", "Where a client is kept in one IP family says nothing of the other", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim("C64", "A patched timeout reaches the rules of both IP families", KUBE_PROXY, SYNC_BOTH, BOTH),
)
