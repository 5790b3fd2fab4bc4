"""A diagnosis: one thing that keeps affinity of a Service from working, or that its users should know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a diagnosis means for affinity; the most severe comes first."""

    BROKEN = "broken"
    """Affinity does not work, for all clients or for those that the diagnosis names."""
    POSSIBLE = "possible"
    """It may keep affinity from working; what decides it cannot be read in the cluster."""
    NOTE = "note"
    """Affinity works as specified, and in a way that surprises many users."""


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of one Service.

    ``id`` never changes its meaning. ``what`` is one sentence, ``next_step`` what a user can do, ``claims`` the ids of
    the suite's claims about the same behaviour, ``evidence`` a few lines that show it.
    """

    id: str
    severity: Severity
    what: str
    next_step: str
    claims: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
