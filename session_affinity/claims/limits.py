"""What happens at the limits: many clients, short timeouts, and timeouts that are changed under clients."""

from typing import Final

from session_affinity.claims.claim import API, IPTABLES, KUBE_PROXY, TIMEOUT_FIELD, WRITE_RULES, XT_RECENT, Claim

SHORT_TRIALS_STAY: Final = 3.0**-20
"""All of 20 clients that are free choose the same of three endpoints again."""

CLAIMS: Final = (
    Claim(
        "C24d", "A client is kept for one second and free after it", API, TIMEOUT_FIELD, false_alarm=SHORT_TRIALS_STAY
    ),
    Claim(
        "C24e",
        "A lowered timeout frees clients that were silent for longer at once",
        KUBE_PROXY,
        WRITE_RULES,
        IPTABLES,
        false_alarm=SHORT_TRIALS_STAY,
    ),
    Claim("C24f", "A raised timeout keeps clients that it reaches in time", KUBE_PROXY, WRITE_RULES, IPTABLES),
    Claim(
        "C37", "The client after the hundredth takes the place of the least recent one", KUBE_PROXY, XT_RECENT, IPTABLES
    ),
    Claim("C38", "A raised timeout takes a client back to an endpoint it had left", KUBE_PROXY, XT_RECENT, IPTABLES),
)
