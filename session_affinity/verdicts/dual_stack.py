"""Whether each IP family of a dual-stack Service keeps its clients for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.dataplane.xt_recent import MAX_STAMPS, as_listed
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.traffic.answers import Answers


@dataclass(frozen=True)
class Home:
    """A Service in one family, the client's address in that family, and the client's node."""

    service: ServiceState
    address: str
    state: NodeSnapshot


@dataclass(frozen=True)
class Move:
    """A client that one family was made to keep at an endpoint: who answered it there, and in the other."""

    to: Endpoint
    moved: Answers
    other: Answers


def judge_own_memory(backend: Backend, homes: Sequence[Home], connections: int, hz: int | None) -> Verdict:
    """Judge that in each family the client's node remembers the client alone and once, by its address in that family.

    ``connections`` is how many the client made in each family, at most as many as an entry has stamps for; they and
    the spelling of an address are looked at where the dataplane keeps entries with stamps.
    """
    remembered = [backend.affinity_entries(home.state, home.service, hz) for home in homes]
    findings = [
        Finding(home.state.node, f"{home.service.family}: {wanted}", "\n".join(map(_told, own)) or "nobody")
        for home, own in zip(homes, remembered, strict=True)
        if (wanted := _lacking(backend, home, own, min(connections, MAX_STAMPS)))
    ]
    seen = [_told(one) for own in remembered for one in own]
    return Verdict(f"{' and '.join(seen) or 'nobody'}", tuple(findings), homes[0].service)


def judge_independent(services: tuple[ServiceState, ServiceState], node: str, moves: Sequence[Move]) -> Verdict:
    """Judge that a client followed what one family remembers, and stayed on one endpoint in the other all the time.

    ``services`` is the Service in the family where the client stays, and where it is moved.
    """
    stays, follows = services
    stayed = sorted({name for move in moves for name in move.other.by_endpoint})
    findings = [
        Finding(
            node,
            f"{follows.family}: all answered by {move.to.pod}, for which the client is remembered",
            move.moved.summary(),
        )
        for move in moves
        if move.moved.only_endpoint != move.to.pod
    ]
    told = "\n".join(f"with {follows.family} at {move.to.pod}: {move.other.summary()}" for move in moves)
    if len(stayed) != 1 or any(move.other.failures for move in moves):
        findings.append(Finding(node, f"{stays.family}: one endpoint answers, wherever {follows.family} leads", told))
    headline = f"{follows.family} moved to {len({move.to.pod for move in moves})} endpoints, {stays.family} stayed on"
    return Verdict(f"{headline} {', '.join(stayed) or 'none'}", tuple(findings), follows)


def _lacking(backend: Backend, home: Home, remembered: Sequence[AffinityEntry], stamps: int) -> str:
    """Return what is expected of a family where it is not so; empty where it is."""
    wanted = f"{home.address} and nobody else in one {backend.store_kind} of the Service, live"
    if [one.client for one in remembered] != [home.address] or not remembered[0].is_live:
        return wanted
    entry = remembered[0].entry
    if entry is None:
        return ""
    if entry.written != as_listed(home.address):
        return f"{home.address} written as {as_listed(home.address)}"
    return "" if entry.connections == stamps else f"{wanted}, with {stamps} stamps"


def _told(one: AffinityEntry) -> str:
    stamps = f" with {one.entry.connections} stamps" if one.entry else ""
    return f"{one.entry.written if one.entry else one.client}{stamps}"
