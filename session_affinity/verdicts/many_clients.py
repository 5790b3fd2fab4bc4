"""Many clients of the same Services: each keeps to its endpoint, and chooses it for itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from session_affinity.text import first_lines
from session_affinity.traffic.answers import target
from session_affinity.verdicts.spread import judge_spread
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.traffic.answers import Answer, Answers


@dataclass(frozen=True)
class ClientRun:
    """A client of a clientele: its pod, address and node, and its answers in the order of its requests."""

    pod: str
    address: str
    node: str
    answers: Answers

    def __str__(self) -> str:
        return f"{self.pod} ({self.address} on {self.node})"

    def of(self, service: ServiceState) -> tuple[Answer, ...]:
        """Return its answers of one Service, the first one first."""
        return self.answers.of(target(service)).answers

    def chosen(self, service: ServiceState) -> str | None:
        """Return the endpoint of its first request to a Service; None when that failed."""
        first = self.of(service)[0]
        return first.endpoint if first.ok else None


Memory = dict[tuple[str, str], tuple[str, ...]]
"""What a node remembers: by Service and client's address, the pods that the client is bound to there."""


def judge_each_keeps(members: Sequence[ClientRun], services: Sequence[ServiceState]) -> Verdict:
    """Judge that every request of every client was answered, by the endpoint of the client's first one."""
    findings = []
    kept = 0
    for member in members:
        moved = [(service, seen) for service in services if (seen := _unsteady(member.of(service)))]
        kept += len(services) - len(moved)
        if moved:
            told = [f"{service.key}: {seen}" for service, seen in moved]
            expected = f"{len(services)} Services, each answered by one endpoint alone"
            findings.append(Finding(member.node, expected, "\n".join(first_lines(told)), str(member)))
    rounds = len(members[0].answers) // len(services) if members and services else 0
    headline = f"{kept} of {len(members) * len(services)} pairs of client and Service kept over {rounds} rounds"
    return Verdict(headline, tuple(findings))


def judge_independent(members: Sequence[ClientRun], services: Sequence[ServiceState], false_alarm: float) -> Verdict:
    """Judge that no two clients chose alike everywhere, and that all first choices together are spread evenly.

    ``false_alarm`` is the bound of the spread alone. Requests that failed are for another claim, but nobody is judged
    without having chosen.
    """
    choices = {member: [member.chosen(service) for service in services] for member in members}
    bound = [(one, other) for one, other in combinations(members, 2) if choices[one] == choices[other]]
    findings = [
        Finding(
            f"{one.node}, {other.node}" if one.node != other.node else one.node,
            f"{one.pod} and {other.pod} choose differently at one of {len(services)} Services at least",
            "the same at all of them: " + ", ".join(map(str, choices[one])),
            f"{one} and {other}",
        )
        for one, other in bound
    ]
    counts = Counter(choice for chosen in choices.values() for choice in chosen if choice)
    spread = judge_spread(counts, [endpoint.pod for endpoint in services[0].endpoints], false_alarm)
    if not spread.ok:
        expected = f"{spread.requests} first choices, about {spread.expected:.0f} for each endpoint"
        findings.append(Finding("all clients", expected, spread.explain()))
    together = " + ".join(str(count) for count in spread.counts.values())
    headline = f"{together} first choices of {len(members)} clients, {len(bound)} pairs of clients choose alike"
    return Verdict(headline, tuple(findings))


def judge_each_remembered(
    members: Sequence[ClientRun], services: Sequence[ServiceState], memory: Mapping[str, Memory]
) -> Verdict:
    """Judge that each client's own node remembers it, bound to the endpoint that answered it, and no other node does.

    ``memory`` is that of every node, by its name.
    """
    findings = []
    for node, known in memory.items():
        wrong = list(_wrong(node, known, members, services))
        if wrong:
            expected = "the clients on this node, each bound to the endpoint that answered it, and no other client"
            findings.append(Finding(node, expected, "\n".join(first_lines(wrong))))
    pairs = len(members) * len(services)
    headline = f"{pairs} pairs of client and Service on {len(memory)} nodes"
    return Verdict(headline if not findings else findings[0].seen.splitlines()[0], tuple(findings))


def _unsteady(answers: Sequence[Answer]) -> str:
    """Return who answered, where that is not one endpoint alone."""
    told = [answer.endpoint if answer.ok else answer.error for answer in answers]
    return "" if len(set(told)) == 1 and answers[0].ok else ", ".join(map(str, told))


def _wrong(node: str, known: Memory, members: Sequence[ClientRun], services: Sequence[ServiceState]) -> Iterator[str]:
    for member in members:
        for service in services:
            last = member.of(service)[-1]
            wanted = (last.endpoint,) if member.node == node and last.ok else ()
            seen = known.get((service.key, member.address), ())
            if seen != wanted:
                bound = f"bound to {', '.join(seen)}" if seen else "not remembered"
                told = f"answered by {last.endpoint}" if last.ok else f"not answered: {last.error}"
                yield f"{service.key}: {member} {bound}; it was {told}"
