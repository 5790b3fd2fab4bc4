"""What a check concludes: the claim, what contradicts it, and the Service it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity import claims

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.verdicts.spread import SpreadVerdict

MOST_FINDINGS = 12


@dataclass(frozen=True)
class Finding:
    """One thing that contradicts a claim: where it was seen (a node, a client), what should be and what is."""

    where: str
    expected: str
    seen: str
    what: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        head = f"{self.where}: {self.what}" if self.what else self.where
        return (head, *_labelled("expected", self.expected), *_labelled("seen", self.seen))


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, with its numbers.

    ``figure`` is the one number or phrase that tells how it went, also when it went well. ``background`` are lines that
    help to understand a failure. ``spread`` has the numbers of a claim about how evenly answers spread.
    """

    claim: str
    figure: str
    findings: tuple[Finding, ...] = ()
    service: ServiceState | None = None
    background: tuple[str, ...] = ()
    spread: SpreadVerdict | None = None

    def __repr__(self) -> str:
        return f"<{self.claim} {'holds' if self.ok else 'does not hold'}>"

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the claim."""
        return not self.findings

    def explain(self) -> str:
        """Return claim, place, expectation, observation and Service in words; the first line says the most."""
        claim = claims.find(self.claim)
        if self.ok:
            return f"{claim.id} holds: {claim.title.lower()}: {self.figure}"
        places = list(dict.fromkeys(finding.where for finding in self.findings))
        lines = [f"{claim.id} does not hold on {', '.join(places)}: {self.figure}", f"  claim: {claim.title}"]
        for finding in self.findings[:MOST_FINDINGS]:
            head, *rest = finding.lines()
            lines += [f"  {head}", *(f"  {line}" for line in rest)]
        if len(self.findings) > MOST_FINDINGS:
            lines.append(f"  and {len(self.findings) - MOST_FINDINGS} more like these")
        lines += [f"  {line}" for line in (*describe(self.service), *self.background)]
        return "\n".join(lines)


def describe(service: ServiceState | None) -> tuple[str, ...]:
    """Return a Service and its endpoints as lines of text."""
    if service is None:
        return ()
    endpoints = list(dict.fromkeys(map(str, service.endpoints)))
    return (service.describe(), f"endpoints: {', '.join(endpoints) or 'none'}")


def _labelled(label: str, text: str) -> tuple[str, ...]:
    first, *rest = text.splitlines() or [""]
    indent = " " * (len(label) + 4)
    return (f"  {label}: {first}", *(f"{indent}{line}" for line in rest))


def combine(claim: str, *verdicts: Verdict) -> Verdict:
    """Return one verdict that holds when all do; the Service is that of the first that does not."""
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    findings = tuple(finding for verdict in wrong for finding in verdict.findings)
    figure = "; ".join(dict.fromkeys(verdict.figure for verdict in (wrong or verdicts)))
    background = tuple(line for verdict in wrong for line in verdict.background)
    spread = next((verdict.spread for verdict in (*wrong, *verdicts) if verdict.spread), None)
    return Verdict(claim, figure, findings, (wrong or list(verdicts))[0].service, background, spread)
