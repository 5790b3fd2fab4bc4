"""Paths to a Service: which endpoints answer on each, and which entries each leaves on the nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError
from session_affinity.text import lines_or
from session_affinity.traffic.curl import TIMED_OUT
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers, Target
    from session_affinity.traffic.client import ClientId


@dataclass(frozen=True)
class PathRequests:
    """A client's requests to a Service over several paths. ``paths`` has each path's target, and its name in words."""

    service: ServiceState
    client: ClientId
    paths: Mapping[Target, str]
    answers: Answers

    def on(self, target: Target) -> Answers:
        """Return the answers on one path."""
        return self.answers.of(target)

    def where(self, target: Target) -> str:
        """Return client and path in words."""
        return f"{self.client.pod} {self.paths[target]}"

    def require_requests(self) -> None:
        """Raise NothingObservedError when there is no path, or one without a request."""
        require_observed(self.paths, f"paths of {self.client} to {self.service.key}")
        for target in self.paths:
            require_observed(self.on(target), f"requests of {self.where(target)}")


def judge_one_endpoint_per_path(requests: PathRequests) -> Verdict:
    """Judge that on each path every request was answered, by one endpoint; which one may differ between paths."""
    requests.require_requests()
    findings = tuple(
        Finding(
            requests.where(target),
            f"{len(requests.on(target))} of {len(requests.on(target))} requests answered by one endpoint",
            f"{requests.on(target).summary()}\nin order: {requests.on(target).sequence()}",
        )
        for target in requests.paths
        if not requests.on(target).only_endpoint
    )
    if findings:
        headline = f"not one endpoint on {len(findings)} of {len(requests.paths)} paths"
        return Verdict(headline, findings, requests.service)
    reached = Counter(filter(None, (requests.on(target).only_endpoint for target in requests.paths)))
    counts = ", ".join(f"{endpoint} on {count}" for endpoint, count in sorted(reached.items()))
    return Verdict(f"one endpoint on each of {len(requests.paths)} paths: {counts}", service=requests.service)


def judge_allowed_endpoints(requests: PathRequests, allowed: Mapping[Target, Collection[str]]) -> Verdict:
    """Judge that every request was answered, and by an endpoint that its path leads to.

    ``allowed`` has the pods that each path leads to; raises NothingObservedError where there are none.
    """
    requests.require_requests()
    for target in requests.paths:
        require_observed(allowed.get(target, ()), f"endpoints for {requests.where(target)}")
    findings = tuple(
        Finding(requests.where(target), f"all answered by {_either(allowed[target])}", requests.on(target).summary())
        for target in requests.paths
        if requests.on(target).failures or not requests.on(target).by_endpoint.keys() <= set(allowed[target])
    )
    right = sum(requests.on(target).by_endpoint[pod] for target in requests.paths for pod in allowed[target])
    different = {_either(allowed[target]) for target in requests.paths}
    pods = different.pop() if len(different) == 1 else "the endpoints of their paths"
    return Verdict(f"{right} of {len(requests.answers)} answered by {pods}", findings, requests.service)


def judge_unanswered_requests(requests: PathRequests) -> Verdict:
    """Judge that no endpoint answered any request; what came back instead, silence or a refusal, does not matter."""
    requests.require_requests()
    findings = tuple(
        Finding(requests.where(target), "no endpoint answers", requests.on(target).summary())
        for target in requests.paths
        if requests.on(target).by_endpoint
    )
    answered = sum(requests.answers.by_endpoint.values())
    return Verdict(f"{answered} of {len(requests.answers)} requests answered", findings, requests.service)


def judge_dropped_requests(requests: PathRequests) -> Verdict:
    """Judge that nothing came back for any request: no answer and no refusal."""
    requests.require_requests()
    findings = tuple(
        Finding(requests.where(target), "nothing comes back", requests.on(target).summary())
        for target in requests.paths
        if any(answer.ok or not answer.error.startswith(TIMED_OUT) for answer in requests.on(target))
    )
    silent = sum(answer.error.startswith(TIMED_OUT) for answer in requests.answers)
    headline = f"nothing came back for {silent} of {len(requests.answers)} requests"
    return Verdict(headline, findings, requests.service)


def judge_separate_bindings(
    service: ServiceState, client: ClientId, pairs: Sequence[tuple[str | None, str | None]], what: str
) -> Verdict:
    """Judge that some pair of endpoints differs; all would agree if one affinity entry bound the client to both.

    A pair in which None stands for no single endpoint says nothing; without any other pair the claim does not hold.
    ``what`` says what the pairs are.
    """
    require_observed(pairs, f"{what} of {service.key}")
    complete = [(first, second) for first, second in pairs if first and second]
    differ = sum(first != second for first, second in complete)
    headline = f"{differ} of {len(pairs)} {what} differ"
    if differ:
        return Verdict(headline, service=service)
    expected = f"some of {len(pairs)} {what} differ, as each binds separately"
    seen = "all are the same" if complete else "no pair was answered by one endpoint each"
    return Verdict(headline, (Finding(client.pod, expected, seen),), service)


def judge_flows(first: PathRequests, later: Answers, new: Answers) -> Verdict:
    """Judge that flows of datagrams kept their endpoint after the timeout, and that new flows were free after it.

    Each has one datagram for each path, in the same order: ``first`` the first one of a flow, ``later`` another one of
    the same flow when the timeout was over, and ``new`` the first one of a new flow right after that.
    """
    first.require_requests()
    require_observed(later, f"later datagrams of {first.client}")
    require_observed(new, f"datagrams of new flows of {first.client}")
    began, stayed, chosen = ([answer.endpoint for answer in answers] for answers in (first.answers, later, new))
    findings = tuple(_flow_findings(first.client, began, stayed, chosen))
    kept = sum(one == other and one is not None for one, other in zip(began, stayed, strict=True))
    moved = sum(one != other for one, other in zip(began, chosen, strict=True))
    headline = f"{kept} of {len(began)} flows stayed, {moved} of {len(began)} new ones went elsewhere"
    return Verdict(headline, findings, first.service)


def judge_entries_by_node(
    backend: Backend, requests: PathRequests, node_of: Mapping[Target, str], states: Mapping[str, NodeSnapshot]
) -> Verdict:
    """Judge that each node has entries of just those clients that reached the Service by it, each for its endpoint.

    ``node_of`` is the node that each path enters by; ``states`` are the nodes after the requests. A client's address is
    the one that its own side of the connections had. Raises NothingObservedError when a node of a path was not read.
    """
    requests.require_requests()
    if unread := set(node_of.values()) - states.keys():
        raise NothingObservedError(f"{', '.join(sorted(unread))}: the entries of {requests.client} were not read")
    findings: list[Finding] = []
    kept = 0
    for node, state in states.items():
        targets = [target for target in requests.paths if node_of[target] == node]
        expected = {(answer.local_address, answer.endpoint) for target in targets for answer in requests.on(target)}
        entries = backend.affinity_entries(state, requests.service)
        seen = {(entry.client, entry.endpoint.pod) for entry in entries}
        kept += len(expected & seen)
        if seen != expected:
            lines = [
                f"entry {address} -> {pod} (the pod that answered it)" if pod else f"an answer to {address}"
                for address, pod in sorted(expected, key=str)
            ]
            stores = f"no entry in its {len(backend.existing_stores(state, requests.service))} {backend.store_kind}s"
            findings.append(Finding(node, lines_or(lines, "no entry"), lines_or(entries, stores)))
    nodes = len(set(node_of.values()))
    headline = f"{kept} entries where the client entered, on {nodes} of {len(states)} nodes"
    return Verdict(headline, tuple(findings), requests.service)


def judge_translated_clients(
    backend: Backend, service: ServiceState, rounds: Sequence[PathRequests], state: NodeSnapshot
) -> Verdict:
    """Judge that a node has one entry for several clients, of an address that none of them has, and all got its pod.

    ``service`` is the one behind the source NAT, ``rounds`` the requests of each client, ``state`` the node behind the
    NAT after them. Raises NothingObservedError unless two clients sent requests.
    """
    require_observed(list({requests.client for requests in rounds})[1:], "clients beside the first")
    for requests in rounds:
        requests.require_requests()
    entries = backend.affinity_entries(state, service)
    addresses = {entry.client for entry in entries}
    client_addresses = {answer.local_address for requests in rounds for answer in requests.answers}
    answered_by = {answer.endpoint for requests in rounds for answer in requests.answers}
    headline = f"{len(rounds)} clients have entries of {', '.join(sorted(addresses)) or 'no address'}"
    if len(entries) == 1 and not addresses & client_addresses and answered_by == {entries[0].endpoint.pod}:
        return Verdict(f"{headline}, answered by {entries[0].endpoint.pod}", service=service)
    answers = [f"{requests.client} was answered: {requests.answers.summary()}" for requests in rounds]
    finding = Finding(
        state.node,
        f"one entry, of another address than {', '.join(sorted(client_addresses))}; its pod answers all clients",
        "\n".join((*map(str, entries or ["no entry"]), *answers)),
    )
    return Verdict(headline, (finding,), service)


def _flow_findings(
    client: ClientId, began: Sequence[str | None], stayed: Sequence[str | None], chosen: Sequence[str | None]
) -> Iterator[Finding]:
    if lost := sum(None in flow for flow in zip(began, stayed, chosen, strict=True)):
        yield Finding(client.pod, f"every datagram to {len(began)} ports answered", f"not so for {lost} ports")
    left = [f"{first}, later {second}" for first, second in zip(began, stayed, strict=True) if first != second]
    if left:
        seen = f"{len(left)} of {len(began)} do not: {'; '.join(left[:5])}"
        yield Finding(client.pod, "each flow stays where it began", seen)
    if list(chosen) == list(began):
        yield Finding(
            client.pod,
            f"some of {len(began)} new flows go elsewhere, as the timeout is over",
            "all go where the old ones went: datagrams of an old flow have renewed the timeout",
        )


def _either(pods: Collection[str]) -> str:
    return " or ".join(sorted(pods))
