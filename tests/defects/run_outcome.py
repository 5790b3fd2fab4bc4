"""Outcomes of the claims of one run, read from its JUnit file and compared with what a defect must cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.defects.defect import Defect

PASSED = "passed"
FAILED = "failed"
ERROR = "error"
"""The claim could not be tested."""
SKIPPED = "skipped"
DIFFERS = "differs"
"""The cluster violates the claim, as is known of it."""
NOT_RUN = "not run"
_OUTCOMES = {"failure": FAILED, "error": ERROR, "skipped": SKIPPED}
"""Outcome by JUnit element."""


@dataclass(frozen=True)
class ClaimOutcome:
    """The outcome of one claim; ``message`` is empty if it passed."""

    outcome: str
    message: str = ""


@dataclass(frozen=True)
class RunOutcome:
    """The outcomes of a run by claim, and what pytest printed."""

    outcomes: Mapping[str, ClaimOutcome]
    output: str

    @property
    def failed(self) -> tuple[str, ...]:
        """The claims that the cluster violates."""
        return tuple(claim for claim, outcome in self.outcomes.items() if outcome.outcome == FAILED)

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The claims that could not be tested."""
        return tuple(claim for claim, outcome in self.outcomes.items() if outcome.outcome == ERROR)

    @property
    def differing(self) -> tuple[str, ...]:
        """The claims that the cluster violates as is known of it."""
        return tuple(claim for claim, outcome in self.outcomes.items() if outcome.outcome == DIFFERS)

    def of(self, claim: str) -> ClaimOutcome:
        """Return the outcome of a claim."""
        return self.outcomes.get(claim, ClaimOutcome(NOT_RUN))


def read(junit: str, output: str = "") -> RunOutcome:
    """Read a run's JUnit file; test cases without a claim are left out.

    pytest writes two test cases when a test fails and its clean-up ends in an error: the claim has failed.
    """
    outcomes: dict[str, ClaimOutcome] = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        properties = {entry.get("name"): entry.get("value", "") for entry in case.iter("property")}
        if claim := properties.get("claim"):
            if claim in outcomes and outcomes[claim].outcome == FAILED:
                continue
            element = next((element for element in case if element.tag in _OUTCOMES), None)
            outcomes[claim] = ClaimOutcome(PASSED) if element is None else _outcome(element)
    return RunOutcome(outcomes, output)


def _outcome(element: ElementTree.Element) -> ClaimOutcome:
    is_known = element.get("type") == "pytest.xfail"
    return ClaimOutcome(DIFFERS if is_known else _OUTCOMES[element.tag], element.text or "")


def contradictions(defect: Defect, run: RunOutcome, nodes: Mapping[str, str]) -> tuple[str, ...]:
    """Return how the outcome of a run with a defect differs from what the defect must cause; empty if it does not.

    ``nodes`` are the names of the nodes by place.
    """
    return (*_unnoticed(defect, run, nodes), *_falsely_blamed(defect, run))


def _unnoticed(defect: Defect, run: RunOutcome, nodes: Mapping[str, str]) -> Iterator[str]:
    names = {"sick": nodes["worker2"], "client": nodes["control-plane"]}
    for claim, pattern in defect.fails.items():
        outcome = run.of(claim)
        if outcome.outcome != FAILED:
            yield f"{claim} {outcome.outcome}, and should have failed{_quoted(outcome.message)}"
            continue
        expected = re.sub(r"\{(sick|client)\}", lambda match: re.escape(names[match[1]]), pattern)
        if not re.search(expected, outcome.message, re.DOTALL):
            yield f"{claim} failed, but its message does not match {expected!r}{_quoted(outcome.message)}"
        if defect.at and not re.match(rf"\S+ does not hold on {re.escape(nodes[defect.at])}: ", outcome.message):
            yield f"{claim} failed, but not on {nodes[defect.at]} alone{_quoted(outcome.message)}"


def _falsely_blamed(defect: Defect, run: RunOutcome) -> Iterator[str]:
    for claim in defect.passes:
        outcome = run.of(claim)
        if outcome.outcome != PASSED:
            yield f"{claim} {outcome.outcome}, and should have passed{_quoted(outcome.message)}"


def _quoted(message: str) -> str:
    return f":\n{message}" if message else ""
