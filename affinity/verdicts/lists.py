"""Whom the nodes remember: read with the meaning of an entry, which stays listed after it expired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.dataplane.iptables import endpoint_chains
from affinity.dataplane.xt_recent import MAX_STAMPS, Entry, RecentList
from affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.model import Endpoint, ServiceState
    from affinity.traffic.answers import Answers


@dataclass(frozen=True)
class Listed:
    """A client's entry and the list it is in."""

    chain: str
    pod: str
    entry: Entry


def own_lists(service: ServiceState, state: NodeState) -> dict[str, RecentList]:
    """Return the Service's lists on a node, by name."""
    return {name: state.lists[name] for name in endpoint_chains(service) if name in state.lists}


def listed(service: ServiceState, state: NodeState, address: str) -> tuple[Listed, ...]:
    """Return the entries that a node has of a client for a Service, live or not."""
    chains = endpoint_chains(service)
    found = ((name, one.entry(address)) for name, one in own_lists(service, state).items())
    return tuple(Listed(name, chains[name].pod, entry) for name, entry in found if entry)


def judge_one_entry(
    claim: str, service: ServiceState, address: str, rounds: Sequence[tuple[int, NodeState]], hz: int
) -> Verdict:
    """Judge that the client is in exactly one list, live, with a stamp for each connection up to 32.

    ``rounds`` has the client's node after each round, with the number of connections so far; 0 is before any.
    """
    findings: list[Finding] = []
    figures: list[str] = []
    for connections, state in rounds:
        entries = listed(service, state, address)
        live = [one for one in entries if one.entry.is_live(state.clock(hz), service.timeout_seconds or 0)]
        stamps = min(connections, MAX_STAMPS)
        seen = [one.entry.connections for one in live]
        figures.append(f"{'+'.join(map(str, seen)) or '0'} stamps after {connections}")
        if seen != ([stamps] if connections else []):
            where = f"one live entry with {stamps} stamps" if connections else "no entry"
            findings.append(
                Finding(
                    state.node,
                    f"{where} of {address} in the lists of the Service",
                    _entries(entries, state, hz) or f"none in {_names(service, state)}",
                    f"after {connections} connections",
                )
            )
    return Verdict(claim, ", ".join(figures), tuple(findings), service)


def judge_strangers(
    claim: str, service: ServiceState, address: str, home: str, states: Mapping[str, NodeState]
) -> Verdict:
    """Judge that every node but the client's own has the Service's lists, all of them empty."""
    others = [state for name, state in states.items() if name != home]
    findings = tuple(_strange(service, address, others))
    entries = sum(len(one.entries) for state in others for one in own_lists(service, state).values())
    figure = f"{entries} entries on {len(others)} other nodes"
    return Verdict(claim, figure, findings, service, (f"the client is {address} on {home}",))


def judge_forgotten(
    claim: str, service: ServiceState, without: Mapping[str, NodeState], again: Mapping[str, NodeState]
) -> Verdict:
    """Judge that None took the Service's lists away on every node, and ClientIP brought them back empty.

    ``service`` has ClientIP; the states were read under None, and after ClientIP was set again.
    """
    findings = [
        Finding(name, "no lists of the Service while its affinity is None", f"there are still {_names(service, state)}")
        for name, state in without.items()
        if own_lists(service, state)
    ]
    for name, state in again.items():
        lists = own_lists(service, state)
        entries = [entry for one in lists.values() for entry in one.entries]
        if len(lists) != len(service.endpoints) or entries:
            findings.append(
                Finding(
                    name,
                    f"{len(service.endpoints)} empty lists once the affinity is ClientIP again",
                    f"{len(lists)} lists with {len(entries)} entries: {', '.join(e.address for e in entries)}",
                )
            )
    return Verdict(claim, f"0 entries kept on {len(again)} nodes" if not findings else "not forgotten", tuple(findings))


def judge_follows(
    claim: str, service: ServiceState, node: str, followed: Sequence[tuple[Endpoint, Answers]]
) -> Verdict:
    """Judge that, with the client's entry in the list of an endpoint on its node, that endpoint answered."""
    findings = tuple(
        Finding(node, f"all answered by {endpoint.pod}, in whose list the client is", answers.summary())
        for endpoint, answers in followed
        if answers.only_endpoint != endpoint.pod
    )
    figure = f"{len(followed) - len(findings)} of {len(followed)} moves followed"
    return Verdict(claim, figure, findings, service)


def _strange(service: ServiceState, address: str, others: Sequence[NodeState]) -> Iterator[Finding]:
    chains = endpoint_chains(service)
    for state in others:
        lists = own_lists(service, state)
        expected = f"{len(chains)} lists of the Service, without entries"
        if entries := [entry.address for one in lists.values() for entry in one.entries]:
            own = " (the client itself)" if address in entries else ""
            yield Finding(state.node, expected, f"entries of {', '.join(entries)}{own}")
        elif len(lists) != len(chains):
            absent = ", ".join(name for name in chains if name not in lists)
            yield Finding(state.node, expected, f"{len(lists)} lists; there is no {absent}")


def _entries(entries: Sequence[Listed], state: NodeState, hz: int) -> str:
    clock = state.clock(hz)
    return "\n".join(
        f"{one.entry.address} in {one.chain} ({one.pod}): {one.entry.connections} stamps, "
        f"last seen {one.entry.age(clock):.2f} s ago"
        for one in entries
    )


def _names(service: ServiceState, state: NodeState) -> str:
    names = own_lists(service, state)
    return ", ".join(names) or "the Service's lists, which the node does not have"
