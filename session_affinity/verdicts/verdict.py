"""The outcome of a judge: whether a claim holds, with its numbers and what contradicts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError
from session_affinity.text import first_lines

if TYPE_CHECKING:
    from collections.abc import Sized

    from session_affinity.claims import Claim
    from session_affinity.claims.known_behaviour import KnownBehaviour
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.verdicts.spread import SpreadVerdict

MOST_FINDINGS = 12


@dataclass(frozen=True)
class Finding:
    """One contradiction of a claim: where it was seen (a node, a client), what was expected and what was seen."""

    where: str
    expected: str
    seen: str
    what: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return the finding as lines of text."""
        head = f"{self.where}: {self.what}" if self.what else self.where
        return (head, *_labelled("expected", self.expected), *_labelled("seen", self.seen))


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, with its numbers.

    ``headline`` is the number or phrase that sums the verdict up, whether or not the claim holds. ``context`` are lines
    that help to understand a failure. ``spread`` has the numbers of a claim about an even distribution. ``known`` is
    what kube-proxy is known to do wrong where the observation shows that everything that contradicts the claim follows
    from it.
    """

    headline: str
    findings: tuple[Finding, ...] = ()
    service: ServiceState | None = None
    context: tuple[str, ...] = ()
    spread: SpreadVerdict | None = None
    known: KnownBehaviour | None = None

    def __repr__(self) -> str:
        return f"<{'holds' if self.ok else 'does not hold'}: {self.headline}>"

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the claim."""
        return not self.findings

    def explain(self, claim: Claim) -> str:
        """Return claim, place, expectation, observation and Service in words; the first line is the most important."""
        if self.ok:
            return f"{claim.id} holds: {claim.title}: {self.headline}"
        findings = list(dict.fromkeys(self.findings))
        places = list(dict.fromkeys(finding.where for finding in findings))
        lines = [f"{claim.id} does not hold on {', '.join(places)}: {self.headline}", f"  claim: {claim.title}"]
        texts = first_lines(["\n".join(finding.lines()) for finding in findings], MOST_FINDINGS)
        lines += [f"  {line}" for text in texts for line in text.splitlines()]
        lines += [f"  {line}" for line in dict.fromkeys((*describe(self.service), *self.context))]
        return "\n".join(lines)


def require_observed(observed: Sized, what: str) -> None:
    """Raise NothingObservedError when an observation is empty: a judge without evidence has no verdict."""
    if not len(observed):
        raise NothingObservedError(f"{what}: nothing was observed, so nothing can be judged")


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


def combine(*verdicts: Verdict) -> Verdict:
    """Return one verdict that holds when all do; its Service is that of the first that does not.

    Raises NothingObservedError without a verdict.
    """
    require_observed(verdicts, "a verdict of several parts")
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    findings = tuple(dict.fromkeys(finding for verdict in wrong for finding in verdict.findings))
    headline = "; ".join(dict.fromkeys(verdict.headline for verdict in (wrong or verdicts)))
    context = tuple(dict.fromkeys(line for verdict in wrong for line in verdict.context))
    spread = next((verdict.spread for verdict in (*wrong, *verdicts) if verdict.spread), None)
    known = {verdict.known for verdict in wrong}
    return Verdict(
        *(headline, findings, (wrong or list(verdicts))[0].service, context, spread),
        known=known.pop() if len(known) == 1 else None,
    )
