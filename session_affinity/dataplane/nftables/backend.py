"""kube-proxy's nftables mode as a dataplane of the suite: chains, verdict maps, and sets that remember clients."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.nftables import compare, expected
from session_affinity.dataplane.nftables.layout import (
    CLUSTER_CHAIN,
    CLUSTER_IPS,
    ENDPOINT_CHAIN,
    EXTERNAL_CHAIN,
    HAIRPINS,
    LOCAL_CHAIN,
    NO_ENDPOINTS,
    affinity_sets,
    canonical,
    layout_of,
    port_chains,
)
from session_affinity.dataplane.nftables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import Endpoint, ProxyConfig, ServiceState
    from session_affinity.dataplane.nftables.expected import ExpectedTable
    from session_affinity.dataplane.nftables.rules import NftRule
    from session_affinity.dataplane.snapshot import NodeSnapshot

TABLE: Final = "kube-proxy"
_NOTHING: Final = Table()


class Nftables:
    """Answers from ``NodeSnapshot.nftables``; see ``backend.Dataplane`` for the questions.

    A set keeps no times of connections and says of each client how long it stays; a client whose time is over is in
    none any more, although its element may not have been cleared away yet (the kernel's nf_tables lists no such one).
    """

    mode: Final = "nftables"
    store_kind: Final = "set"
    counts_connections: Final = False

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedTable:
        """Return what a node owes to a Service in the newest layout of the table."""
        return expected.expected(service, proxy, node)

    def compare(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return how what a node holds for a Service differs from what it owes in the layout of its table."""
        return compare.compare(state.node, service, proxy, _table(state))

    def compare_many(
        self, state: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Compare for many Services; names tell what is whose, so nothing is overlooked."""
        return {own: self.compare(state, own, proxy) for own in services}

    def has_service(self, state: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has the chains that balance a Service's ports."""
        return all(chain in _table(state) for chain in port_chains(service, CLUSTER_CHAIN))

    def affinity_timeouts(self, state: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the timeouts of a Service's sets."""
        sets = ((name, _table(state).sets.get(name)) for name in affinity_sets(service))
        return {name: int(known.timeout) for name, known in sets if known and known.timeout is not None}

    def normalised(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's map elements, rules and sets; what concerns a node's own endpoints alone is left out."""
        return tuple(_lines(_table(state), service))

    def expected_lines(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return a Service's map elements, rules and sets in the layout of the node's table."""
        layout = layout_of(_table(state))
        return tuple(_expected_lines(expected.expected(service, proxy, state.node, layout)))

    def affinity_rules(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's sets, and its rules that ask a set for the client or add it to one."""
        table = _table(state)
        names = table.named_after(service.key)
        rules = (rule for name in names if name in table for rule in table.rules(name))
        found = [str(rule) for rule in rules if rule.clause("update", "add") or _asks_a_set(rule)]
        return (*found, *(line for line in _lines(table, service) if line.startswith("set ")))

    def objects_of(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the map elements, chains and sets of a Service.

        A chain without rules counts as gone: kube-proxy deletes it a second or more later, with its next change. The
        address of a Service that was deleted may be another's by now.
        """
        table = _table(state)
        names = table.named_after(service.key)
        kept = [f"chain {name}" for name in names if table.rules(name)]
        addresses = (one for one in service.cluster_ips if not table.goes_to_another(canonical(one), service.key))
        own = replace(service, cluster_ips=tuple(addresses))
        return (*_elements(table, own), *kept, *(f"set {name}" for name in names if name in table.sets))

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the endpoints by set."""
        return affinity_sets(service)

    def existing_stores(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return those of a Service's sets that a node has."""
        return tuple(name for name in affinity_sets(service) if name in _table(state).sets)

    def affinity_entries(
        self, state: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return the elements of a Service's sets; the node's tick rate says nothing here."""
        del hz
        sets = _table(state).sets
        return tuple(
            AffinityEntry(name, endpoint, canonical(element.key[0]), element.expires)
            for name, endpoint in affinity_sets(service).items()
            for element in (sets[name].elements.values() if name in sets else ())
        )

    def pinning(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that moves the client's element, all in one transaction.

        An element is added before it is deleted, since deleting one that is not there is an error.
        """
        family = "ip6" if service.family == "IPv6" else "ip"
        steps = [(verb, name) for name in affinity_sets(service) for verb in ("add", "delete")]
        commands = [
            {verb: {"element": {"family": family, "table": TABLE, "name": name, "elem": [client]}}}
            for verb, name in (*steps, ("add", store))
        ]
        return ("nft", "-j", json.dumps({"nftables": commands}))


def _table(state: NodeSnapshot) -> Table:
    return state.nftables or _NOTHING


def _asks_a_set(rule: NftRule) -> bool:
    return any(rule.looks_for(f"{ip} saddr").startswith("@") for ip in ("ip", "ip6"))


def _lines(table: Table, service: ServiceState) -> Iterator[str]:
    yield from _elements(table, service)
    names = [name for name in table.named_after(service.key) if name in table]
    for prefix in (CLUSTER_CHAIN, LOCAL_CHAIN, EXTERNAL_CHAIN, ENDPOINT_CHAIN):
        for name in sorted(name for name in names if name.startswith(prefix)):
            yield from map(str, table.rules(name))
    for name in sorted(name for name in table.named_after(service.key) if name in table.sets):
        found = table.sets[name]
        timeout = "" if found.timeout is None else f" timeout {found.timeout:g} s"
        yield f"set {name} {' . '.join(found.type)}{timeout}"


def _expected_lines(expected: ExpectedTable) -> Iterator[str]:
    elements = (one for one in expected.elements if one.container != HAIRPINS)
    yield from (f"element {one.container} {one}" for one in elements)
    yield from (str(one.rule) for rules in expected.chains.values() for one in rules)
    for one in expected.sets.values():
        yield f"set {one.name} {one.type}{'' if one.timeout is None else f' timeout {one.timeout} s'}"


def _elements(table: Table, service: ServiceState) -> Iterator[str]:
    """Yield the elements that lead to a Service or refuse it; its node ports are told by the chain they lead to."""
    addresses = [canonical(address) for address in service.cluster_ips]
    found = [element for address in addresses for element in table.elements_of(address)]
    found += [element for chain in port_chains(service) for element in table.elements_to(chain)]
    known = table.sets.get(CLUSTER_IPS)
    yield from (f"element {CLUSTER_IPS} {one}" for one in addresses if known and (one,) in known.elements)
    for container, key, verdict in sorted(dict.fromkeys(found), key=lambda one: (one[0] == NO_ENDPOINTS, one)):
        yield f"element {container} {' . '.join(key)} : {verdict}"
