"""Every claim the suite checks: its id, what it says in one line, and who promises it.

The ids up to C48 are those of the study the suite grew from; the ones above it were added here. An id never changes its
meaning and is never used again, so that results of different versions of the suite can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from affinity.errors import UsageError


class Promise(StrEnum):
    """Who promises a behaviour."""

    API = "api"
    """The Service API: true on any dataplane."""
    KUBE_PROXY = "kube_proxy"
    """What kube-proxy does where no document says; other dataplanes may differ."""


@dataclass(frozen=True)
class Claim:
    """A promise that one test checks.

    ``false_alarm`` bounds the probability that the test of a cluster that keeps the promise fails by chance; 0 for a
    claim without chance.
    """

    id: str
    title: str
    promised_by: Promise
    false_alarm: float = 0.0


FREE_TRIALS: Final = 15
"""Services whose clients choose anew: all of them choosing the same of three endpoints again has chance 3 ** -15."""
ALL_STAY: Final = 3.0**-FREE_TRIALS
SPREAD_FALSE_ALARM: Final = 1e-7
"""The bound that the spread of 300 requests is judged by."""
BUDGET: Final = 1e-6
"""What all claims of one run may come to."""

_API, _KUBE_PROXY = Promise.API, Promise.KUBE_PROXY

_CLAIMS: Final = (
    # The API.
    Claim("C02", "A Service says None and no timeout unless told otherwise", _API),
    Claim("C03", "ClientIP without a timeout is stored with 10800 seconds", _API),
    # Distribution.
    Claim("C09", "Without affinity requests spread over all endpoints", _API, SPREAD_FALSE_ALARM),
    Claim("C10", "A client's requests all reach one endpoint", _API),
    Claim("C13", "The endpoint that answers is the one whose list holds the client", _KUBE_PROXY),
    Claim("C49", "Each connection is translated to the endpoint that answered it", _KUBE_PROXY),
    Claim("C50", "Switching None, ClientIP, None in place takes effect on every node", _API, 2 * SPREAD_FALSE_ALARM),
    # Rules on every node.
    Claim("C05", "The rules carry the Service's own timeout", _KUBE_PROXY),
    Claim("C14", "Chains have the computed names, and there are no others for the Service", _KUBE_PROXY),
    Claim("C15", "One rcheck rule an endpoint, in order, before any balancing rule", _KUBE_PROXY),
    Claim("C16", "Each rcheck rule has seconds, reap, its own list, the full mask and the source", _KUBE_PROXY),
    Claim("C17", "Balancing probabilities are 1/n, 1/(n-1), ... and none for the last", _KUBE_PROXY),
    Claim("C18", "Each endpoint chain remembers the client and translates in one rule", _KUBE_PROXY),
    Claim("C19", "Without affinity no rule of the Service remembers clients", _KUBE_PROXY),
    Claim("C20", "All nodes hold the same rules for the Service", _KUBE_PROXY),
    Claim("C51", "The cluster IP leads to the Service's chain", _KUBE_PROXY),
    # Lists.
    Claim("C21", "A client is in exactly one list, with a stamp for each connection", _KUBE_PROXY),
    Claim("C21n", "Nodes that the client is not on do not know it", _KUBE_PROXY),
    Claim("C26", "None forgets all clients, and ClientIP again starts with empty lists", _KUBE_PROXY),
    Claim("C52", "Moving the list entry moves the client", _KUBE_PROXY),
    # Expiry.
    Claim("C22", "A patched timeout reaches every node's rules and keeps the entries", _KUBE_PROXY),
    Claim("C23", "A silent client is kept until just before the timeout", _API),
    Claim("C24", "A silent client is free just after the timeout", _API, ALL_STAY),
    Claim("C24b", "Every new connection renews the timeout", _API),
    Claim("C24c", "Traffic on an open connection does not renew it", _KUBE_PROXY, ALL_STAY),
    Claim("C25", "An expired entry stays listed and binds no one", _KUBE_PROXY, ALL_STAY),
    Claim("C53", "A Service left at 10800 seconds keeps its clients meanwhile", _API),
)

CATALOGUE: Final = {claim.id: claim for claim in _CLAIMS}


def find(claim_id: str) -> Claim:
    """Return the claim of an id; raises UsageError when there is none."""
    if claim_id not in CATALOGUE:
        raise UsageError(f"there is no claim {claim_id}", next_step="affinity/claims.py lists them")
    return CATALOGUE[claim_id]
