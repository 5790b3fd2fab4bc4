"""The affinity entries of one client: in which list or set of its node they are, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.errors import NothingObservedError
from session_affinity.text import lines_or
from session_affinity.verdicts.stamps import StampRange
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.client import ClientId


@dataclass(frozen=True)
class EntryRound:
    """A client's node after a round of requests, with the answers so far; none is before any.

    ``sent_again`` is how many first packets of connections the client has sent again since before the first request.
    """

    answers: Answers
    state: NodeSnapshot
    sent_again: int


def judge_one_entry(service: ServiceState, client: ClientId, rounds: Sequence[EntryRound], hz: int) -> Verdict:
    """Judge that the client is in exactly one list, live, with a stamp for each connection, up to 32 by default.

    A first packet that was sent again may have been stamped again. ``hz`` is the tick rate of the node. Raises
    NothingObservedError when no round has connections.
    """
    require_observed([each for each in rounds if len(each.answers)], f"connections of {client} to {service.key}")
    findings: list[Finding] = []
    figures: list[str] = []
    for each in rounds:
        connections, state = len(each.answers), each.state
        entries = of_client(IPTABLES.affinity_entries(state, service, hz), client.address)
        stamps = StampRange.of(connections, each.sent_again, state.max_stamps)
        seen = [len(entry.stamps) for entry in entries if entry.is_live]
        figures.append(f"{'+'.join(map(str, seen)) or '0'} stamps after {connections}")
        if not (len(seen) == 1 and seen[0] in stamps if connections else not seen):
            expected = f"one live entry with {stamps}" if connections else "no entry"
            findings.append(
                Finding(
                    state.node,
                    f"{expected} of {client.address} in the lists of the Service",
                    lines_or(entries, f"no entry in {_store_names(IPTABLES, service, state)}"),
                    f"after {connections} connections",
                )
            )
    return Verdict(", ".join(figures), tuple(findings), service)


def judge_one_element(
    service: ServiceState, client: ClientId, before: NodeSnapshot, after: NodeSnapshot, *, seconds: float
) -> Verdict:
    """Judge that the client is in no set before its requests, and in exactly one after, for the Service's timeout.

    ``seconds`` is how long before the second read ended the first request was sent. nft rounds what is left down to
    the second.
    """
    timeout = service.timeout_seconds or 0
    lowest = timeout - seconds - 1
    first = of_client(NFTABLES.affinity_entries(before, service), client.address)
    elements = of_client(NFTABLES.affinity_entries(after, service), client.address)
    left = [element.seconds_left for element in elements]
    headline = f"{len(first)} before, {len(elements)} after with {', '.join(map(_seconds, left)) or 'nothing'} left"
    findings: list[Finding] = []
    if first:
        expected = f"{client.address} in no set of the Service before its first request"
        findings.append(Finding(before.node, expected, lines_or(first, "no element")))
    if len(left) != 1 or left[0] is None or not lowest <= left[0] <= timeout:
        findings.append(
            Finding(
                after.node,
                f"{client.address} in one set of the Service, with {lowest:.1f} s to {timeout} s left",
                lines_or(elements, f"no element in {_store_names(NFTABLES, service, after)}"),
            )
        )
    return Verdict(headline, tuple(findings), service)


def judge_other_nodes(
    backend: Backend, service: ServiceState, client: ClientId, states: Mapping[str, NodeSnapshot]
) -> Verdict:
    """Judge that every node but the client's has the Service's lists or sets, all of them empty.

    Raises NothingObservedError when no other node was read.
    """
    others = [state for name, state in states.items() if name != client.node]
    require_observed(others, f"nodes beside that of {client}")
    require_observed(backend.affinity_stores(service), f"endpoints of {service.key}")
    findings = tuple(_not_empty(backend, service, client, others))
    entries = sum(len(backend.affinity_entries(state, service)) for state in others)
    headline = f"{entries} entries on {len(others)} other nodes"
    return Verdict(headline, findings, service, (f"the client is {client.address} on {client.node}",))


def judge_entries_cleared(
    backend: Backend,
    service: ServiceState,
    before: NodeSnapshot,
    without: Mapping[str, NodeSnapshot],
    again: Mapping[str, NodeSnapshot],
) -> Verdict:
    """Judge that None removed the Service's lists or sets on every node, and ClientIP brought them back empty.

    ``service`` has ClientIP. ``before`` is the client's node when the Service was still in use, ``without`` the nodes
    under None, ``again`` the nodes after ClientIP was set again. Raises NothingObservedError when a node was not read
    both times, and when there was no entry before that could be cleared.
    """
    require_observed(backend.affinity_entries(before, service), f"entries on {before.node} before the switch to None")
    require_observed(again, "nodes after ClientIP was set again")
    if unread := again.keys() ^ without.keys():
        raise NothingObservedError(f"{', '.join(sorted(unread))} was read only once, so nothing can be judged")
    kind, expected = backend.store_kind, len(backend.affinity_stores(service))
    findings = [
        Finding(
            name,
            f"no {kind}s of the Service while its affinity is None",
            f"there are still {_store_names(backend, service, state)}",
        )
        for name, state in without.items()
        if backend.existing_stores(state, service)
    ]
    for name, state in again.items():
        present, entries = backend.existing_stores(state, service), backend.affinity_entries(state, service)
        if len(present) != expected or entries:
            clients = ", ".join(entry.client for entry in entries)
            findings.append(
                Finding(
                    name,
                    f"{expected} empty {kind}s once the affinity is ClientIP again",
                    f"{len(present)} {kind}s with {len(entries)} entries: {clients}",
                )
            )
    return Verdict(f"0 entries kept on {len(again)} nodes" if not findings else "not cleared", tuple(findings), service)


def judge_moved_entries(service: ServiceState, client: ClientId, moves: Sequence[tuple[Endpoint, Answers]]) -> Verdict:
    """Judge that a client was answered by each endpoint that its entry was moved to.

    Raises NothingObservedError unless the entry was moved to two endpoints at least, with requests after each move.
    """
    require_observed(list({endpoint for endpoint, _ in moves})[1:], "moves of the entry to different endpoints")
    for endpoint, answers in moves:
        require_observed(answers, f"requests of {client} after its entry was moved to {endpoint.pod}")
    findings = tuple(
        Finding(client.node, f"all answered by {endpoint.pod}, which the client's entry is for", answers.summary())
        for endpoint, answers in moves
        if answers.only_endpoint != endpoint.pod
    )
    headline = f"{len(moves) - len(findings)} of {len(moves)} moves followed"
    return Verdict(headline, findings, service)


def _not_empty(
    backend: Backend, service: ServiceState, client: ClientId, others: Sequence[NodeSnapshot]
) -> Iterator[Finding]:
    stores, kind = backend.affinity_stores(service), backend.store_kind
    expected = f"{len(stores)} {kind}s of the Service, without entries"
    for state in others:
        present = backend.existing_stores(state, service)
        if addresses := [entry.client for entry in backend.affinity_entries(state, service)]:
            note = " (the client itself)" if client.address in addresses else ""
            yield Finding(state.node, expected, f"entries of {', '.join(addresses)}{note}")
        elif len(present) != len(stores):
            absent = ", ".join(name for name in stores if name not in present)
            yield Finding(state.node, expected, f"{len(present)} {kind}s; there is no {absent}")


def _seconds(left: float | None) -> str:
    return "no end" if left is None else f"{left:g} s"


def _store_names(backend: Backend, service: ServiceState, state: NodeSnapshot) -> str:
    names = backend.existing_stores(state, service)
    return ", ".join(names) or f"the Service's {backend.store_kind}s, which the node does not have"
