"""The result of a run: every claim of the catalogue once, with its outcome."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.claims import Claim
    from session_affinity.claims.catalogue import ClaimTest


class Outcome(StrEnum):
    """What became of a claim in a run."""

    PASSED = "passed"
    """The claim holds."""
    FAILED = "failed"
    """The cluster violates the claim."""
    UNDETERMINED = "undetermined"
    """The claim could not be tested: cluster, machine or suite failed."""
    SKIPPED = "skipped"
    """The claim was not tested, by a rule."""
    DIFFERS = "differs"
    """The cluster violates the claim, and that is a known or a permitted difference."""


class SkipReason(StrEnum):
    """Why a claim was skipped, as a class that a program can act on."""

    NOT_APPLICABLE = "notApplicable"
    """It says nothing about this cluster: another proxy mode, one IP family, a feature that the cluster refuses."""
    NO_ACCESS = "noAccess"
    """It needs access to nodes, and the run had none."""
    DESELECTED = "deselected"
    """The run was asked for other claims."""
    DISRUPTIVE = "disruptive"
    """It disturbs a cluster, and this one is not the suite's own."""


@dataclass(frozen=True)
class ClaimResult:
    """What became of one claim. ``message`` says why it did not pass; ``seconds`` is how long its test took."""

    claim: Claim
    outcome: Outcome
    headline: str = ""
    message: str = ""
    seconds: float = 0.0
    skip_reason: SkipReason | None = None
    link: str = ""


@dataclass(frozen=True)
class RunResult:
    """A run: what it was on, and every claim of the catalogue exactly once, in the order of judging.

    ``passes_after_all`` are claims with a known difference that passed all the same.
    """

    claims: tuple[ClaimResult, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    passes_after_all: tuple[str, ...] = ()

    def of(self, outcome: Outcome) -> tuple[ClaimResult, ...]:
        """Return the claims with an outcome."""
        return tuple(result for result in self.claims if result.outcome is outcome)

    @property
    def judged(self) -> tuple[ClaimResult, ...]:
        """The claims that have a verdict."""
        return tuple(
            result for result in self.claims if result.outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.DIFFERS)
        )

    @property
    def false_alarm(self) -> float:
        """The bound on the probability that a claim of this run failed by chance."""
        return sum(result.claim.false_alarm for result in self.judged)


def require_complete(claims: Sequence[ClaimResult], catalogue: Iterable[str]) -> None:
    """Raise SuiteError unless the results have every claim of the catalogue, by id, exactly once."""
    ids = [result.claim.id for result in claims]
    expected = set(catalogue)
    doubled = sorted({claim_id for claim_id in ids if ids.count(claim_id) > 1})
    problems = [
        *(f"{claim_id} is there more than once" for claim_id in doubled),
        *(f"{claim_id} is missing" for claim_id in sorted(expected - set(ids))),
        *(f"{claim_id} is no claim of the catalogue" for claim_id in sorted(set(ids) - expected)),
    ]
    if problems:
        raise SuiteError(f"the results are not those of the whole catalogue: {'; '.join(problems)}")


def digest(catalogue: Iterable[ClaimTest]) -> str:
    """Return the digest of a catalogue: of what its claims say, not of how they are tested."""
    claims = sorted((asdict(test.claim) for test in catalogue), key=lambda claim: str(claim["id"]))
    return "sha256:" + hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()
