"""Ways to a Service: who answers on each, who should, and what each remembers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers, Target

SILENCE: Final = "curl 28:"
"""What the error of a request begins with that nothing came back for."""


@dataclass(frozen=True)
class PathRequests:
    """What came of a client's requests to a Service. ``ways`` are what each way is called, by where it begins."""

    service: ServiceState
    client: str
    ways: Mapping[Target, str]
    answers: Answers

    def on(self, target: Target) -> Answers:
        """Return the answers on one way."""
        return self.answers.of(target)

    def where(self, target: Target) -> str:
        """Return client and way in words."""
        return f"{self.client} {self.ways[target]}"


def judge_each_way(asked: PathRequests) -> Verdict:
    """Judge that on each way every request was answered, by one endpoint; which one may differ between ways."""
    findings = tuple(
        Finding(
            asked.where(target),
            f"{len(asked.on(target))} of {len(asked.on(target))} requests answered by one endpoint",
            f"{asked.on(target).summary()}\nin order: {asked.on(target).sequence()}",
        )
        for target in asked.ways
        if not asked.on(target).only_endpoint
    )
    reached = Counter(filter(None, (asked.on(target).only_endpoint for target in asked.ways)))
    told = ", ".join(f"{endpoint} on {count}" for endpoint, count in sorted(reached.items()))
    headline = f"one endpoint on each of {len(asked.ways)} ways: {told}"
    if findings:
        headline = f"not one endpoint on {len(findings)} of {len(asked.ways)} ways"
    return Verdict(headline, findings, asked.service)


def judge_answered_by(asked: PathRequests, allowed: Mapping[Target, Collection[str]]) -> Verdict:
    """Judge that every request was answered, and by an endpoint that its way leads to."""
    findings = tuple(
        Finding(asked.where(target), f"all answered by {_either(allowed[target])}", asked.on(target).summary())
        for target in asked.ways
        if asked.on(target).failures or not asked.on(target).by_endpoint.keys() <= set(allowed[target])
    )
    right = sum(asked.on(target).by_endpoint[endpoint] for target in asked.ways for endpoint in allowed[target])
    different = {_either(allowed[target]) for target in asked.ways}
    whom = different.pop() if len(different) == 1 else "the endpoints of their ways"
    return Verdict(f"{right} of {len(asked.answers)} answered by {whom}", findings, asked.service)


def judge_dropped(asked: PathRequests) -> Verdict:
    """Judge that requests met with silence: no answer and no refusal."""
    findings = tuple(
        Finding(asked.where(target), "nothing comes back", asked.on(target).summary())
        for target in asked.ways
        if any(one.ok or not one.error.startswith(SILENCE) for one in asked.on(target))
    )
    silent = sum(one.error.startswith(SILENCE) for one in asked.answers)
    return Verdict(f"nothing came back for {silent} of {len(asked.answers)} requests", findings, asked.service)


def judge_bound_apart(
    service: ServiceState, client: str, pairs: Sequence[tuple[str | None, str | None]], what: str
) -> Verdict:
    """Judge that not all pairs of endpoints agree, as they would if a client were bound to both by one memory."""
    differ = sum(one != other for one, other in pairs)
    headline = f"{differ} of {len(pairs)} {what} differ"
    if differ:
        return Verdict(headline, service=service)
    finding = Finding(client, f"some of {len(pairs)} {what} differ, as each binds on its own", "all are the same")
    return Verdict(headline, (finding,), service)


def judge_flows(asked: PathRequests, later: Answers, new: Answers) -> Verdict:
    """Judge that flows stayed where they began after the timeout, and that new flows after them were free.

    Each has one datagram for each way, in the same order: ``asked`` the first of a flow, ``later`` another one of the
    same flow when the timeout was over, and ``new`` the first of a new flow right after that.
    """
    began, stayed, chosen = ([one.endpoint for one in answers] for answers in (asked.answers, later, new))
    findings = tuple(_flow_findings(asked.client, began, stayed, chosen))
    kept = sum(one == other and one is not None for one, other in zip(began, stayed, strict=True))
    moved = sum(one != other for one, other in zip(began, chosen, strict=True))
    headline = f"{kept} of {len(began)} flows stayed, {moved} of {len(began)} new ones went elsewhere"
    return Verdict(headline, findings, asked.service)


def judge_remembered(
    backend: Backend, asked: PathRequests, entered: Mapping[Target, str], states: Mapping[str, NodeSnapshot]
) -> Verdict:
    """Judge that each node remembers just those who entered by it, as they came, for the endpoint that answered.

    ``entered`` is the node that each way enters by; ``states`` are the nodes after the requests. What a client came as
    is what its own side of the connections had for an address.
    """
    findings: list[Finding] = []
    kept = 0
    for node, state in states.items():
        ways = [target for target in asked.ways if entered[target] == node]
        wanted = {(one.local_address, one.endpoint) for target in ways for one in asked.on(target)}
        entries = backend.affinity_entries(state, asked.service)
        seen = {(one.client, one.endpoint.pod) for one in entries}
        kept += len(wanted & seen)
        if seen != wanted:
            expected = "; ".join(
                f"{address}, whom {who or 'nobody'} answered" for address, who in sorted(wanted, key=str)
            )
            told = (
                "\n".join(map(str, entries))
                or f"none in its {len(backend.existing_stores(state, asked.service))} {backend.store_kind}s"
            )
            findings.append(Finding(node, f"remembers {expected or 'nobody'}", told))
    headline = f"{kept} remembered where they entered, on {len(set(entered.values()))} of {len(states)} nodes"
    return Verdict(headline, tuple(findings), asked.service)


def judge_one_client(
    backend: Backend, service: ServiceState, asked: Sequence[PathRequests], state: NodeSnapshot
) -> Verdict:
    """Judge that a node took several clients for one, with an address of none of them, and one endpoint answered all.

    ``service`` is the one behind the translation, ``asked`` what each client got, ``state`` the node it entered by.
    """
    entries = backend.affinity_entries(state, service)
    addresses = {one.client for one in entries}
    own = {answer.local_address for each in asked for answer in each.answers}
    answered = {answer.endpoint for each in asked for answer in each.answers}
    headline = f"{len(asked)} clients remembered as {', '.join(sorted(addresses)) or 'nobody'}"
    right = len(entries) == 1 and not addresses & own and answered == {entries[0].endpoint.pod}
    if right:
        return Verdict(f"{headline}, answered by {entries[0].endpoint.pod}", service=service)
    said = "; ".join(f"{each.client} ({'/'.join(sorted(own))}): {each.answers.summary()}" for each in asked)
    finding = Finding(
        state.node,
        f"one client remembered, with another address than {', '.join(sorted(own))}, and its endpoint answers all",
        "\n".join((*map(str, entries), f"answered: {said}")),
    )
    return Verdict(headline, (finding,), service)


def _flow_findings(
    client: str, began: Sequence[str | None], stayed: Sequence[str | None], chosen: Sequence[str | None]
) -> Iterator[Finding]:
    if lost := sum(None in one for one in zip(began, stayed, chosen, strict=True)):
        yield Finding(client, f"every datagram to {len(began)} ports answered", f"not so for {lost} ports")
    left = [f"{one}, later {other}" for one, other in zip(began, stayed, strict=True) if one != other]
    if left:
        told = f"{len(left)} of {len(began)} do not: {'; '.join(left[:5])}"
        yield Finding(client, "each flow stays where it began", told)
    if list(chosen) == list(began):
        yield Finding(
            client,
            f"some of {len(began)} new flows go elsewhere, as the timeout is over",
            "all go where the old ones went: datagrams of an old flow have renewed the timeout",
        )


def _either(names: Collection[str]) -> str:
    return " or ".join(sorted(names)) or "nobody"
