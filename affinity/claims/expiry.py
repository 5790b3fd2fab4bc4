"""When a client is forgotten."""

from typing import Final

from affinity.claims.claim import ALL_STAY, API, IPTABLES, KUBE_PROXY, TIMEOUT_FIELD, WRITE_RULES, XT_RECENT, Claim

CLAIMS: Final = (
    Claim(
        "C22",
        "A patched timeout reaches every node's rules and keeps the entries",
        KUBE_PROXY,
        WRITE_RULES,
        IPTABLES,
    ),
    Claim("C23", "A silent client is kept until just before the timeout", API, TIMEOUT_FIELD),
    Claim("C24", "A silent client is free just after the timeout", API, TIMEOUT_FIELD, false_alarm=ALL_STAY),
    Claim("C24b", "Every new connection renews the timeout", API, TIMEOUT_FIELD),
    Claim("C24c", "Traffic on an open connection does not renew it", KUBE_PROXY, XT_RECENT, false_alarm=ALL_STAY),
    Claim(
        "C25",
        "An expired entry stays listed and binds no one",
        KUBE_PROXY,
        XT_RECENT,
        IPTABLES,
        false_alarm=ALL_STAY,
    ),
    Claim("C53", "A Service left at 10800 seconds keeps its clients meanwhile", API, TIMEOUT_FIELD),
)
