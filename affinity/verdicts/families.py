"""Whether each IP family of a dual-stack Service keeps its clients for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.dataplane.xt_recent import MAX_STAMPS, as_listed
from affinity.verdicts.lists import listed, own_lists
from affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.model import Endpoint, ServiceState
    from affinity.traffic.answers import Answers


@dataclass(frozen=True)
class Home:
    """A Service in one family, the client's address in that family, and the client's node."""

    service: ServiceState
    address: str
    state: NodeState


@dataclass(frozen=True)
class Move:
    """A client whose entry in one family was moved to an endpoint's list: who answered it there, and in the other."""

    to: Endpoint
    moved: Answers
    other: Answers


def judge_own_lists(claim: str, homes: Sequence[Home], connections: int, hz: int) -> Verdict:
    """Judge that in each family one list holds the client alone, live, written as the kernel writes its address.

    ``connections`` is how many the client made in each family, at most as many as an entry has stamps for.
    """
    findings = [finding for home in homes for finding in _not_its_own(home, min(connections, MAX_STAMPS), hz)]
    seen = [
        entry.written for home in homes for one in own_lists(home.service, home.state).values() for entry in one.entries
    ]
    return Verdict(claim, f"listed as {' and '.join(seen) or 'nobody'}", tuple(findings), homes[0].service)


def judge_independent(
    claim: str, services: tuple[ServiceState, ServiceState], node: str, moves: Sequence[Move]
) -> Verdict:
    """Judge that a client followed its entry in one family, and stayed on one endpoint in the other all the time.

    ``services`` is the Service in the family where the client stays, and where it is moved.
    """
    stays, follows = services
    stayed = sorted({name for move in moves for name in move.other.by_endpoint})
    findings = [
        Finding(
            node, f"{follows.family}: all answered by {move.to.pod}, in whose list the client is", move.moved.summary()
        )
        for move in moves
        if move.moved.only_endpoint != move.to.pod
    ]
    told = "\n".join(f"with the entry at {move.to.pod}: {move.other.summary()}" for move in moves)
    if len(stayed) != 1 or any(move.other.failures for move in moves):
        findings.append(Finding(node, f"{stays.family}: one endpoint answers, wherever {follows.family} leads", told))
    figure = f"{follows.family} moved to {len({move.to.pod for move in moves})} endpoints, {stays.family} stayed on"
    return Verdict(claim, f"{figure} {', '.join(stayed) or 'none'}", tuple(findings), follows)


def _not_its_own(home: Home, stamps: int, hz: int) -> Iterator[Finding]:
    service, address, state = home.service, home.address, home.state
    clock, timeout = state.clock(hz), service.timeout_seconds or 0
    everyone = [entry for one in own_lists(service, state).values() for entry in one.entries]
    live = [one.entry for one in listed(service, state, address) if one.entry.is_live(clock, timeout)]
    if len(live) != len(everyone) or [entry.connections for entry in live] != [stamps]:
        told = ", ".join(f"{entry.written} with {entry.connections} stamps" for entry in everyone)
        yield Finding(
            state.node, f"{service.family}: one live entry, of {address}, with {stamps} stamps", told or "none"
        )
    for entry in live:
        if entry.written != as_listed(address):
            yield Finding(state.node, f"{service.family}: {address} written as {as_listed(address)}", entry.written)
