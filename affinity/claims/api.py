"""What the API stores."""

from typing import Final

from affinity.claims.claim import API, FIELD, TIMEOUT_FIELD, Claim

CLAIMS: Final = (
    Claim("C02", "A Service says None and no timeout unless told otherwise", API, FIELD),
    Claim("C03", "ClientIP without a timeout is stored with 10800 seconds", API, TIMEOUT_FIELD),
)
