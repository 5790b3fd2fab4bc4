"""Who answers: one endpoint for a client, and the same one that the nodes' records name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from session_affinity.dataplane import conntrack
from session_affinity.dataplane.backend import of_client
from session_affinity.verdicts.spread import judge_spread
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers


def judge_one_endpoint(service: ServiceState, client: str, answers: Answers) -> Verdict:
    """Judge that every request of a client was answered, and by the same endpoint."""
    counts = answers.by_endpoint
    first, best = counts.most_common(1)[0] if counts else ("no endpoint", 0)
    if answers.only_endpoint:
        return Verdict(f"{best} of {len(answers)} from {first}", service=service)
    finding = Finding(
        client,
        f"{len(answers)} of {len(answers)} requests answered by one endpoint",
        f"{answers.summary()}\nin order: {answers.sequence()}",
    )
    headline = f"{len(counts)} endpoints answered, {len(answers.failures)} of {len(answers)} requests failed"
    return Verdict(headline, (finding,), service)


def judge_even_spread(service: ServiceState, client: str, answers: Answers, false_alarm: float) -> Verdict:
    """Judge that every request was answered, by all endpoints and evenly, at a bound for a false alarm."""
    spread = judge_spread(answers.by_endpoint, [endpoint.pod for endpoint in service.endpoints], false_alarm)
    counts = " + ".join(str(count) for count in spread.counts.values())
    headline = f"{counts} of {len(answers)}, chi-square {spread.chi2:.2f} of {spread.threshold:.2f} allowed"
    if spread.ok and not answers.failures:
        return Verdict(headline, service=service, spread=spread)
    expected = f"{len(answers)} requests answered, about {spread.expected:.0f} by each endpoint"
    finding = Finding(client, expected, f"{answers.summary()}\n{spread.explain()}")
    return Verdict(headline, (finding,), service, spread=spread)


def judge_answers_from_list(
    backend: Backend,
    service: ServiceState,
    client: tuple[str, str],
    answers: Answers,
    *,
    state: NodeSnapshot,
) -> Verdict:
    """Judge that the endpoint that answered is the one, and the only one, that the client's node remembers it for.

    ``client`` is its name and address; ``state`` its node after the requests.
    """
    name, address = client
    remembered = of_client(backend.affinity_entries(state, service), address)
    named = [one.endpoint.pod for one in remembered]
    answered = sorted(answers.by_endpoint)
    headline = f"{', '.join(answered) or 'nobody'} answered, {', '.join(named) or 'no endpoint'} has {address} listed"
    if named == answered and len(named) == 1 and not answers.failures:
        return Verdict(headline, service=service)
    finding = Finding(
        state.node,
        f"{address} ({name}) in the {backend.store_kind} of the endpoint that answered it, and in no other",
        f"in the {backend.store_kind}s of: {', '.join(str(one.endpoint) for one in remembered) or 'none'}\n"
        f"answered: {answers.summary()}",
    )
    return Verdict(headline, (finding,), service)


def judge_translation(service: ServiceState, address: str, answers: Answers, state: NodeSnapshot) -> Verdict:
    """Judge by the client's port numbers that connection tracking names, for each answer, the endpoint it came from."""
    port = service.ports[0]
    translated = conntrack.endpoint_by_local_port(
        state.flows or (), client=address, cluster_ip=service.cluster_ips[0], port=port.port, protocol=port.protocol
    )
    expected = {endpoint.pod: endpoint.at for endpoint in port.endpoints}
    wrong = Counter[tuple[str, str, str]]()
    for answer in answers:
        want = expected.get(answer.endpoint or "", "an endpoint of the Service")
        seen = translated.get(answer.local_port, "no such connection")
        if seen != want:
            wrong[answer.endpoint or answer.error, want, seen] += 1
    agree = len(answers) - wrong.total()
    findings = tuple(
        Finding(state.node, f"{who} answered, so the connection is translated to {want}", f"{seen} ({count} times)")
        for (who, want, seen), count in wrong.most_common()
    )
    return Verdict(f"{agree} of {len(answers)} connections agree", findings, service)
