"""Which endpoints answer a client, compared with each other and with the entries and connections of its node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from session_affinity.dataplane import conntrack
from session_affinity.dataplane.backend import of_client
from session_affinity.errors import NothingObservedError, UsageError
from session_affinity.text import lines_or
from session_affinity.verdicts.spread import judge_spread
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.client import ClientId
    from session_affinity.verdicts.spread import SpreadVerdict


def judge_one_endpoint(service: ServiceState, client: ClientId, answers: Answers) -> Verdict:
    """Judge that every request of a client was answered, and by the same endpoint."""
    require_observed(answers, f"requests of {client} to {service.key}")
    counts = answers.by_endpoint
    first, best = counts.most_common(1)[0] if counts else ("no endpoint", 0)
    if answers.only_endpoint:
        return Verdict(f"{best} of {len(answers)} from {first}", service=service)
    finding = Finding(
        client.pod,
        f"{len(answers)} of {len(answers)} requests answered by one endpoint",
        f"{answers.summary()}\nin order: {answers.sequence()}",
    )
    headline = f"{len(counts)} endpoints answered, {len(answers.failures)} of {len(answers)} requests failed"
    return Verdict(headline, (finding,), service)


def judge_even_spread(service: ServiceState, client: ClientId, answers: Answers, false_alarm: float) -> Verdict:
    """Judge that every request was answered, by all endpoints and evenly, at a bound for a false alarm.

    Raises NothingObservedError without requests or with fewer than two endpoints, and UsageError when too few requests
    were sent for the bound.
    """
    require_observed(answers, f"requests of {client} to {service.key}")
    pods = [endpoint.pod for endpoint in service.endpoints]
    require_observed(pods[1:], f"endpoints of {service.key} beside the first, over which requests could spread")
    expected = f"{len(answers)} requests answered, about {len(answers) / len(pods):.0f} by each endpoint"
    spread = _spread(answers, pods, false_alarm)
    if spread is None:
        answered = sum(answers.by_endpoint[pod] for pod in pods)
        headline = f"{answered} of {len(answers)} requests answered by endpoints of the Service"
        return Verdict(headline, (Finding(client.pod, expected, answers.summary()),), service)
    counts = " + ".join(str(count) for count in spread.counts.values())
    headline = f"{counts} of {len(answers)}, chi-square {spread.chi2:.2f} of {spread.threshold:.2f} allowed"
    if spread.ok and not answers.failures:
        return Verdict(headline, service=service, spread=spread)
    finding = Finding(client.pod, expected, f"{answers.summary()}\n{spread.explain()}")
    return Verdict(headline, (finding,), service, spread=spread)


def judge_entry_of_answer(
    backend: Backend, service: ServiceState, client: ClientId, answers: Answers, *, state: NodeSnapshot
) -> Verdict:
    """Judge that the client's node has one affinity entry of the client, for the endpoint that answered it.

    ``state`` is the client's node after the requests.
    """
    require_observed(answers, f"requests of {client} to {service.key}")
    entries = of_client(backend.affinity_entries(state, service), client.address)
    bound_to = [entry.endpoint.pod for entry in entries]
    answered_by = sorted(answers.by_endpoint)
    entry_text = f"entry {client.address} -> {', '.join(bound_to)}" if bound_to else f"no entry of {client.address}"
    headline = f"{', '.join(answered_by) or 'no endpoint'} answered, {entry_text}"
    if bound_to == answered_by and len(bound_to) == 1 and not answers.failures:
        return Verdict(headline, service=service)
    pods = ", ".join(answered_by) or "one endpoint"
    finding = Finding(
        state.node,
        f"entry {client.address} -> {pods} (the pod that answered {client.pod}), and no other entry of it",
        lines_or(entries, f"no entry in the {backend.store_kind}s of the Service"),
        answers.summary(),
    )
    return Verdict(headline, (finding,), service)


def judge_translation(service: ServiceState, client: ClientId, answers: Answers, state: NodeSnapshot) -> Verdict:
    """Judge that connection tracking has, for each answer, the endpoint it came from; compared by the client's ports.

    Raises NothingObservedError when nothing was requested or the connections of the node were not read.
    """
    require_observed(answers, f"requests of {client} to {service.key}")
    require_observed(service.ports, f"ports of {service.key}")
    if state.flows is None:
        raise NothingObservedError(f"{state.node}: its connections were not read, so nothing can be judged")
    port = service.ports[0]
    translated = conntrack.endpoint_by_local_port(
        state.flows,
        client=client.address,
        cluster_ip=service.cluster_ips[0],
        port=port.port,
        protocol=port.protocol,
    )
    addresses = {endpoint.pod: endpoint.at for endpoint in port.endpoints}
    wrong = Counter[tuple[str, str, str]]()
    for answer in answers:
        expected = addresses.get(answer.endpoint or "", "an endpoint of the Service")
        seen = translated.get(answer.local_port, "no such connection")
        if seen != expected:
            wrong[answer.endpoint or answer.error, expected, seen] += 1
    agree = len(answers) - wrong.total()
    findings = tuple(
        Finding(state.node, f"{pod} answered, so the connection is translated to {expected}", f"{seen} ({count} times)")
        for (pod, expected, seen), count in wrong.most_common()
    )
    return Verdict(f"{agree} of {len(answers)} connections agree", findings, service)


def _spread(answers: Answers, pods: list[str], false_alarm: float) -> SpreadVerdict | None:
    """Return the spread; None where so few of the requests were answered by endpoints that the bound allows none."""
    if not answers.by_endpoint:
        return None
    try:
        return judge_spread(answers.by_endpoint, pods, false_alarm)
    except UsageError:
        if sum(answers.by_endpoint[pod] for pod in pods) == len(answers):
            raise
        return None
