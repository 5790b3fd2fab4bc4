"""Every claim the suite checks: its id, what it says in one line, who promises it and where that is written.

The ids up to C48 are those of the study the suite grew from; the ones above it were added here. An id never changes its
meaning and is never used again, so that results of different versions of the suite can be compared. Each module here
has the claims of one subject, in the order they run in.
"""

from __future__ import annotations

from typing import Final

from session_affinity.claims import api, distribution, expiry, families, lifecycle, limits, lists, paths, rules, upkeep
from session_affinity.claims.claim import (
    ALL_STAY,
    BUDGET,
    CLIENTELE,
    CLIENTELE_FALSE_ALARM,
    CLIENTELE_SERVICES,
    CLIENTELE_SPREAD,
    FREE_TRIALS,
    SPREAD_FALSE_ALARM,
    Claim,
    Promise,
)
from session_affinity.errors import UsageError

__all__ = [
    "ALL_STAY",
    "BUDGET",
    "CATALOGUE",
    "CLIENTELE",
    "CLIENTELE_FALSE_ALARM",
    "CLIENTELE_SERVICES",
    "CLIENTELE_SPREAD",
    "FREE_TRIALS",
    "SPREAD_FALSE_ALARM",
    "Claim",
    "Promise",
    "find",
    "subject_of",
]

_SUBJECTS: Final = (api, distribution, rules, lists, families, paths, limits, lifecycle, expiry, upkeep)

CATALOGUE: Final[dict[str, Claim]] = {claim.id: claim for subject in _SUBJECTS for claim in subject.CLAIMS}


def find(claim_id: str) -> Claim:
    """Return the claim of an id; raises UsageError when there is none."""
    if claim_id not in CATALOGUE:
        raise UsageError(f"there is no claim {claim_id}", next_step="session_affinity/claims lists them")
    return CATALOGUE[claim_id]


def subject_of(claim: Claim) -> str:
    """Return what a claim is about, in the words its module begins with."""
    module = next(subject for subject in _SUBJECTS if claim in subject.CLAIMS)
    return (module.__doc__ or "").strip().splitlines()[0].rstrip(".")
