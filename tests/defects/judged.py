"""How the claims of one run came out, read from its JUnit file, and how that differs from what a defect calls for."""

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
BROKEN = "broken"
SKIPPED = "skipped"
_DOES_NOT_HOLD = re.compile(r"\S+ does not hold")
_OUTCOMES = {"failure": FAILED, "error": BROKEN, "skipped": SKIPPED}


@dataclass(frozen=True)
class Outcome:
    """How one claim came out; ``message`` is empty when it passed."""

    outcome: str
    message: str = ""


@dataclass(frozen=True)
class Judged:
    """A run's outcomes by claim, and all that it said."""

    outcomes: Mapping[str, Outcome]
    said: str

    @property
    def failed(self) -> tuple[str, ...]:
        """The claims that the cluster was found to break."""
        return tuple(claim for claim, found in self.outcomes.items() if found.outcome == FAILED)

    @property
    def broken(self) -> tuple[str, ...]:
        """The claims that could not be judged."""
        return tuple(claim for claim, found in self.outcomes.items() if found.outcome == BROKEN)


def read(junit: str, said: str = "") -> Judged:
    """Read a run's JUnit file; what is no test of a claim is passed over."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        properties = {one.get("name"): one.get("value", "") for one in case.iter("property")}
        if claim := properties.get("claim"):
            # A test that failed and could not be taken down either has failed.
            told = sorted((one for one in case if one.tag in _OUTCOMES), key=lambda one: list(_OUTCOMES).index(one.tag))
            found[claim] = _outcome(told[0]) if told else Outcome(PASSED)
    return Judged(found, said)


def _outcome(told: ElementTree.Element) -> Outcome:
    """Return what an element tells; to JUnit a test that could not tell has failed like one that could."""
    text = told.text or ""
    broken = told.tag == "failure" and not _DOES_NOT_HOLD.match(text)
    return Outcome(BROKEN if broken else _OUTCOMES[told.tag], text)


def contradictions(defect: Defect, judged: Judged, nodes: Mapping[str, str]) -> tuple[str, ...]:
    """Return how a run with a defect differs from what the defect calls for; empty when it does not.

    ``nodes`` are the names of the nodes by place.
    """
    return (*_unnoticed(defect, judged, nodes), *_blamed(defect, judged))


def _unnoticed(defect: Defect, judged: Judged, nodes: Mapping[str, str]) -> Iterator[str]:
    names = {"sick": nodes["worker2"], "client": nodes["control-plane"]}
    for claim, pattern in defect.fails.items():
        found = judged.outcomes.get(claim, Outcome("not run"))
        if found.outcome != FAILED:
            yield f"{claim} {found.outcome}, and should have failed{_told(found.message)}"
            continue
        wanted = re.sub(r"\{(sick|client)\}", lambda at: re.escape(names[at[1]]), pattern)
        if not re.search(wanted, found.message, re.DOTALL):
            yield f"{claim} failed, but not with {wanted!r}{_told(found.message)}"
        if defect.at and not re.match(rf"\S+ does not hold on {re.escape(nodes[defect.at])}: ", found.message):
            yield f"{claim} failed, but not on {nodes[defect.at]} alone{_told(found.message)}"


def _blamed(defect: Defect, judged: Judged) -> Iterator[str]:
    for claim in defect.passes:
        found = judged.outcomes.get(claim, Outcome("not run"))
        if found.outcome != PASSED:
            yield f"{claim} {found.outcome}, and should have passed{_told(found.message)}"


def _told(message: str) -> str:
    return f":\n{message}" if message else ""
