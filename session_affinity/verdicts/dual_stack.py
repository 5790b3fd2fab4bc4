"""Whether each IP family of a dual-stack Service has affinity entries of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.dataplane.xt_recent import as_listed
from session_affinity.text import lines_or
from session_affinity.verdicts.stamps import StampRange
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.client import ClientId


@dataclass(frozen=True)
class ClientInFamily:
    """A Service in one IP family, the client by its address in it, and the client's node after its requests."""

    service: ServiceState
    client: ClientId
    state: NodeSnapshot


@dataclass(frozen=True)
class EntryMove:
    """The answers after the client's entry in one family was moved to an endpoint: in that family, and in the other."""

    endpoint: Endpoint
    answers: Answers
    other: Answers


def judge_entry_per_family(
    backend: Backend, families: Sequence[ClientInFamily], connections: int, hz: int | None, *, sent_again: int
) -> Verdict:
    """Judge that in each family the client's node has one entry, live, of the client's address in that family.

    ``connections`` is how many the client opened in each family. Their stamps, up to 32, and the spelling of the
    address are judged where the dataplane keeps them (xt_recent). Meanwhile the client has sent ``sent_again`` first
    packets of connections again, which may have been stamped again. ``hz`` is the tick rate of the node. Raises
    NothingObservedError unless the client opened connections and both families were read.
    """
    require_observed(families[1:], "a second IP family of the Service")
    require_observed(range(connections), f"connections of {families[0].client}")
    entries = [backend.affinity_entries(family.state, family.service, hz) for family in families]
    findings = [
        Finding(family.state.node, f"{family.service.family}: {expected}", lines_or(map(_entry_text, own), "no entry"))
        for family, own in zip(families, entries, strict=True)
        if (expected := _unmet(backend, family, own, StampRange.of(connections, sent_again, family.state.max_stamps)))
    ]
    seen = [_entry_text(entry) for own in entries for entry in own]
    return Verdict(f"{' and '.join(seen) or 'no entry'}", tuple(findings), families[0].service)


def judge_families_independent(
    services: tuple[ServiceState, ServiceState], client: ClientId, moves: Sequence[EntryMove]
) -> Verdict:
    """Judge that a client followed its entry in one family, and stayed on one endpoint in the other all the time.

    ``services`` is the Service in the family where the client stays, and in the one where its entry is moved. Raises
    NothingObservedError unless the entry was moved to two endpoints at least.
    """
    stays, follows = services
    require_observed(list({move.endpoint for move in moves})[1:], "moves of the entry to different endpoints")
    for move in moves:
        require_observed(move.answers, f"requests of {client} over {follows.family}")
        require_observed(move.other, f"requests of {client} over {stays.family}")
    stayed = sorted({pod for move in moves for pod in move.other.by_endpoint})
    findings = [
        Finding(
            client.node,
            f"{follows.family}: all answered by {move.endpoint.pod}, which the client's entry is for",
            move.answers.summary(),
        )
        for move in moves
        if move.answers.only_endpoint != move.endpoint.pod
    ]
    if len(stayed) != 1 or any(move.other.failures for move in moves):
        seen = "\n".join(f"with {follows.family} at {move.endpoint.pod}: {move.other.summary()}" for move in moves)
        expected = f"{stays.family}: one endpoint answers, wherever the {follows.family} entry leads"
        findings.append(Finding(client.node, expected, seen))
    headline = f"{follows.family} moved to {len({move.endpoint.pod for move in moves})} endpoints"
    return Verdict(f"{headline}, {stays.family} stayed on {', '.join(stayed) or 'none'}", tuple(findings), follows)


def _unmet(backend: Backend, family: ClientInFamily, entries: Sequence[AffinityEntry], stamps: StampRange) -> str:
    """Return what is expected of the entries of a family; empty where they are as expected."""
    address = family.client.address
    expected = f"one live entry in the {backend.store_kind}s of the Service, of {address}"
    if [entry.client for entry in entries] != [address] or not entries[0].is_live:
        return expected
    listed = entries[0].entry
    if listed is None:
        return ""
    if listed.written != as_listed(address):
        return f"{address} written as {as_listed(address)}"
    return "" if listed.connections in stamps else f"{expected}, with {stamps}"


def _entry_text(entry: AffinityEntry) -> str:
    if entry.entry is None:
        return entry.client
    return f"{entry.entry.written} with {entry.entry.connections} stamps"
