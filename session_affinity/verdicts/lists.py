"""Whom the nodes remember, and for how long: an entry of a list, an element of a set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane.backend import AffinityEntry, of_client
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.xt_recent import MAX_STAMPS
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers


def judge_one_entry(
    service: ServiceState, address: str, rounds: Sequence[tuple[int, NodeSnapshot]], hz: int
) -> Verdict:
    """Judge that the client is in exactly one list, live, with a stamp for each connection up to 32.

    ``rounds`` has the client's node after each round, with the number of connections so far; 0 is before any.
    """
    findings: list[Finding] = []
    figures: list[str] = []
    for connections, state in rounds:
        entries = of_client(IPTABLES.affinity_entries(state, service, hz), address)
        stamps = min(connections, MAX_STAMPS)
        seen = [len(one.stamps) for one in entries if one.is_live]
        figures.append(f"{'+'.join(map(str, seen)) or '0'} stamps after {connections}")
        if seen != ([stamps] if connections else []):
            where = f"one live entry with {stamps} stamps" if connections else "no entry"
            findings.append(
                Finding(
                    state.node,
                    f"{where} of {address} in the lists of the Service",
                    _told(entries) or f"none in {_names(IPTABLES, service, state)}",
                    f"after {connections} connections",
                )
            )
    return Verdict(", ".join(figures), tuple(findings), service)


def judge_one_element(
    service: ServiceState, address: str, before: NodeSnapshot, after: NodeSnapshot, *, seconds: float
) -> Verdict:
    """Judge that the client is in no set before its requests, and in exactly one after, for the Service's timeout.

    ``seconds`` is how long before the second read ended the first request was sent. What is left is rounded down.
    """
    timeout = service.timeout_seconds or 0
    lowest = timeout - seconds - 1
    first = of_client(NFTABLES.affinity_entries(before, service), address)
    elements = of_client(NFTABLES.affinity_entries(after, service), address)
    left = [one.seconds_left for one in elements]
    headline = f"{len(first)} before, {len(elements)} after with {', '.join(map(_seconds, left)) or 'nothing'} left"
    findings: list[Finding] = []
    if first:
        findings.append(Finding(before.node, f"{address} in no set of the Service before it asks", _told(first)))
    if len(left) != 1 or left[0] is None or not lowest <= left[0] <= timeout:
        findings.append(
            Finding(
                after.node,
                f"{address} in one set of the Service, with {lowest:.1f} s to {timeout} s left",
                _told(elements) or f"in none of {_names(NFTABLES, service, after)}",
            )
        )
    return Verdict(headline, tuple(findings), service)


def judge_strangers(
    backend: Backend, service: ServiceState, client: tuple[str, str], states: Mapping[str, NodeSnapshot]
) -> Verdict:
    """Judge that every node but the client's own has the Service's lists or sets, all of them empty.

    ``client`` is its address and its node.
    """
    address, home = client
    others = [state for name, state in states.items() if name != home]
    findings = tuple(_strange(backend, service, address, others))
    entries = sum(len(backend.affinity_entries(state, service)) for state in others)
    headline = f"{entries} entries on {len(others)} other nodes"
    return Verdict(headline, findings, service, (f"the client is {address} on {home}",))


def judge_forgotten(
    backend: Backend,
    service: ServiceState,
    without: Mapping[str, NodeSnapshot],
    again: Mapping[str, NodeSnapshot],
) -> Verdict:
    """Judge that None took the Service's lists or sets away on every node, and ClientIP brought them back empty.

    ``service`` has ClientIP; the states were read under None, and after ClientIP was set again.
    """
    kind, wanted = backend.store_kind, len(backend.affinity_stores(service))
    findings = [
        Finding(
            name,
            f"no {kind}s of the Service while its affinity is None",
            f"there are still {_names(backend, service, state)}",
        )
        for name, state in without.items()
        if backend.existing_stores(state, service)
    ]
    for name, state in again.items():
        present, entries = backend.existing_stores(state, service), backend.affinity_entries(state, service)
        if len(present) != wanted or entries:
            findings.append(
                Finding(
                    name,
                    f"{wanted} empty {kind}s once the affinity is ClientIP again",
                    f"{len(present)} {kind}s with {len(entries)} entries: {', '.join(one.client for one in entries)}",
                )
            )
    return Verdict(f"0 entries kept on {len(again)} nodes" if not findings else "not forgotten", tuple(findings))


def judge_follows(service: ServiceState, node: str, followed: Sequence[tuple[Endpoint, Answers]]) -> Verdict:
    """Judge that, with the client remembered for an endpoint on its node, that endpoint answered."""
    findings = tuple(
        Finding(node, f"all answered by {endpoint.pod}, for which the client is remembered", answers.summary())
        for endpoint, answers in followed
        if answers.only_endpoint != endpoint.pod
    )
    headline = f"{len(followed) - len(findings)} of {len(followed)} moves followed"
    return Verdict(headline, findings, service)


def _strange(
    backend: Backend, service: ServiceState, address: str, others: Sequence[NodeSnapshot]
) -> Iterator[Finding]:
    affinity_stores, kind = backend.affinity_stores(service), backend.store_kind
    for state in others:
        present = backend.existing_stores(state, service)
        expected = f"{len(affinity_stores)} {kind}s of the Service, without entries"
        if clients := [one.client for one in backend.affinity_entries(state, service)]:
            own = " (the client itself)" if address in clients else ""
            yield Finding(state.node, expected, f"entries of {', '.join(clients)}{own}")
        elif len(present) != len(affinity_stores):
            absent = ", ".join(name for name in affinity_stores if name not in present)
            yield Finding(state.node, expected, f"{len(present)} {kind}s; there is no {absent}")


def _told(remembered: Sequence[AffinityEntry]) -> str:
    return "\n".join(map(str, remembered))


def _seconds(left: float | None) -> str:
    return "no end" if left is None else f"{left:g} s"


def _names(backend: Backend, service: ServiceState, state: NodeSnapshot) -> str:
    names = backend.existing_stores(state, service)
    return ", ".join(names) or f"the Service's {backend.store_kind}s, which the node does not have"
