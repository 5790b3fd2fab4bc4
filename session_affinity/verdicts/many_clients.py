"""Many clients of the same Services: each keeps its endpoint, and chooses it independently of the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError, UsageError
from session_affinity.text import first_lines
from session_affinity.traffic.answers import target
from session_affinity.verdicts.spread import judge_spread
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.traffic.client import ClientId


@dataclass(frozen=True)
class ClientRun:
    """One of many clients, and its answers in the order of its requests."""

    client: ClientId
    answers: Answers

    def of(self, service: ServiceState) -> tuple[Answer, ...]:
        """Return its answers from one Service, the first one first; raises NothingObservedError when there are none."""
        answers = self.answers.of(target(service)).answers
        require_observed(answers, f"requests of {self.client} to {service.key}")
        return answers

    def choice(self, service: ServiceState) -> str | None:
        """Return the endpoint of its first request to a Service; None when that failed."""
        first = self.of(service)[0]
        return first.endpoint if first.ok else None


BoundPods = dict[tuple[str, str], tuple[str, ...]]
"""The pods that a node's affinity entries bind clients to, by key of the Service and address of the client."""


def judge_endpoints_kept(runs: Sequence[ClientRun], services: Sequence[ServiceState]) -> Verdict:
    """Judge that every request of every client was answered, by the endpoint of the client's first one.

    Raises NothingObservedError when a client did not send two requests to each Service.
    """
    require_observed(runs, "clients")
    require_observed(services, "Services that many clients use")
    findings = []
    kept = 0
    for run in runs:
        moved = [(service, seen) for service in services if (seen := _several_answers(run, service))]
        kept += len(services) - len(moved)
        if moved:
            lines = [f"{service.key}: {seen}" for service, seen in moved]
            expected = f"{len(services)} Services, each answered by one endpoint alone"
            findings.append(Finding(run.client.node, expected, "\n".join(first_lines(lines)), str(run.client)))
    rounds = len(runs[0].answers) // len(services)
    headline = f"{kept} of {len(runs) * len(services)} pairs of client and Service kept over {rounds} rounds"
    return Verdict(headline, tuple(findings))


def judge_independent_choices(
    runs: Sequence[ClientRun], services: Sequence[ServiceState], false_alarm: float
) -> Verdict:
    """Judge that no two clients chose alike everywhere, and that all first choices together are spread evenly.

    ``false_alarm`` is the bound of the spread alone. A first request that failed is no choice: single ones are for the
    claim about kept endpoints, but a client without any choice is a finding. Raises NothingObservedError unless two
    clients sent requests.
    """
    require_observed(runs[1:], "clients beside the first")
    require_observed(services, "Services that many clients use")
    choices = {run: [run.choice(service) for service in services] for run in runs}
    findings = [
        Finding(run.client.node, f"{len(services)} first requests answered", "no answer", str(run.client))
        for run, chosen in choices.items()
        if not any(chosen)
    ]
    alike = [
        (run, other) for run, other in combinations(runs, 2) if choices[run] == choices[other] and any(choices[run])
    ]
    findings += [
        Finding(
            ", ".join(dict.fromkeys((run.client.node, other.client.node))),
            f"{run.client.pod} and {other.client.pod} choose differently for one of {len(services)} Services at least",
            "the same for all of them: " + ", ".join(map(str, choices[run])),
            f"{run.client} and {other.client}",
        )
        for run, other in alike
    ]
    counts = Counter(pod for chosen in choices.values() for pod in chosen if pod)
    spread_finding, together = _first_choices(counts, services[0], len(runs) * len(services), false_alarm)
    headline = f"{together} first choices of {len(runs)} clients, {len(alike)} pairs of clients choose alike"
    return Verdict(headline, (*findings, *spread_finding))


def judge_client_entries(
    runs: Sequence[ClientRun], services: Sequence[ServiceState], entries: Mapping[str, BoundPods]
) -> Verdict:
    """Judge that each client has one affinity entry a Service, on its own node, for the endpoint that answered it last.

    ``entries`` are those of every node, by its name. A client that was not answered last is a finding. Raises
    NothingObservedError when the node of a client was not read.
    """
    require_observed(runs, "clients")
    require_observed(services, "Services that many clients use")
    if unread := {run.client.node for run in runs} - entries.keys():
        raise NothingObservedError(f"{', '.join(sorted(unread))}: the clients' entries were not read")
    findings = []
    for node, bound_pods in entries.items():
        wrong = list(_wrong_entries(node, bound_pods, runs, services))
        if wrong:
            expected = "entries of the clients on this node, each for the endpoint that answered it, and no others"
            findings.append(Finding(node, expected, "\n".join(first_lines(wrong))))
    pairs = len(runs) * len(services)
    headline = f"{pairs} pairs of client and Service on {len(entries)} nodes"
    return Verdict(headline if not findings else findings[0].seen.splitlines()[0], tuple(findings))


def _several_answers(run: ClientRun, service: ServiceState) -> str:
    """Return who answered a client in turn; empty where it is one endpoint alone."""
    answers = run.of(service)
    require_observed(answers[1:], f"requests of {run.client} to {service.key} after the first")
    seen = [answer.endpoint if answer.ok else answer.error for answer in answers]
    return "" if len(set(seen)) == 1 and answers[0].ok else ", ".join(map(str, seen))


def _first_choices(
    counts: Mapping[str, int], service: ServiceState, requests: int, false_alarm: float
) -> tuple[tuple[Finding, ...], str]:
    """Return what contradicts an even spread of first choices, and the counts in words."""
    pods = [endpoint.pod for endpoint in service.endpoints]
    require_observed(pods[1:], f"endpoints of {service.key} beside the first")
    answered = sum(counts.get(pod, 0) for pod in pods)
    if not answered:
        return (Finding("all clients", f"{requests} first choices", "no answer of an endpoint"),), "0"
    try:
        spread = judge_spread(counts, pods, false_alarm)
    except UsageError:
        if answered == requests:
            raise
        return (Finding("all clients", f"{requests} first choices", f"{answered} of them"),), str(answered)
    together = " + ".join(str(count) for count in spread.counts.values())
    if spread.ok:
        return (), together
    expected = f"{spread.requests} first choices, about {spread.expected:.0f} for each endpoint"
    return (Finding("all clients", expected, spread.explain()),), together


def _wrong_entries(
    node: str, bound_pods: BoundPods, runs: Sequence[ClientRun], services: Sequence[ServiceState]
) -> Iterator[str]:
    for run in runs:
        address = run.client.address
        for service in services:
            last = run.of(service)[-1]
            pods = bound_pods.get((service.key, address), ())
            seen = ", ".join(f"entry {address} -> {pod}" for pod in pods) or "no entry"
            if run.client.node != node:
                if pods:
                    yield f"{service.key}: {seen}; expected no entry: {run.client} is on another node"
            elif not last.ok:
                yield f"{service.key}: {seen}; {run.client} was not answered: {last.error}"
            elif pods != (last.endpoint,):
                yield (
                    f"{service.key}: {seen}; expected entry {address} -> {last.endpoint} "
                    f"(the pod that answered {run.client.pod})"
                )
