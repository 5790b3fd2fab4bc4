"""Which endpoints answer a client."""

from typing import Final

from session_affinity.claims.claim import (
    API,
    BOTH,
    CLIENTELE_FALSE_ALARM,
    FIELD,
    KUBE_PROXY,
    REMEMBERS,
    SPREAD_FALSE_ALARM,
    SYNC_BOTH,
    Claim,
)

CLAIMS: Final = (
    Claim(
        "C09",
        "Without affinity requests spread over all endpoints",
        API,
        FIELD,
        false_alarm=SPREAD_FALSE_ALARM,
    ),
    Claim("C10", "A client's requests all reach one endpoint", API, FIELD),
    Claim("C58", "Connections opened at once by a client all reach its endpoint", API, FIELD),
    Claim(
        "C11",
        "Clients choose endpoints independently of each other, and evenly",
        API,
        FIELD,
        false_alarm=CLIENTELE_FALSE_ALARM,
    ),
    Claim("C12", "Every client on every node keeps the endpoint of its first request", API, FIELD),
    Claim("C59", "Of many clients each is remembered on its own node alone", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C13", "The endpoint that answers is the one that the client is remembered for", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C49", "Each connection is translated to the endpoint that answered it", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim(
        "C50",
        "Switching None, ClientIP, None in place takes effect on every node",
        API,
        FIELD,
        false_alarm=2 * SPREAD_FALSE_ALARM,
    ),
)
