"""The backend of kube-proxy's nftables mode: chains, verdict maps and affinity sets of its table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.differences import Leftovers
from session_affinity.dataplane.nftables import compare, expected, leftovers
from session_affinity.dataplane.nftables.layout import (
    CLUSTER_CHAIN,
    CLUSTER_IPS,
    ENDPOINT_CHAIN,
    EXTERNAL_CHAIN,
    FIREWALL_CHAIN,
    HAIRPINS,
    LOCAL_CHAIN,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINTS,
    affinity_sets,
    canonical,
    endpoint_chains,
    layout_of,
    port_chains,
)
from session_affinity.dataplane.nftables.table import Key, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.nftables.expected import ExpectedTable
    from session_affinity.dataplane.nftables.rules import NftRule
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot

TABLE: Final = "kube-proxy"
_NOTHING: Final = Table()


class Nftables:
    """Implements ``dataplane.backend.Backend`` with ``NodeSnapshot.nftables``.

    An element of a set has the time left and no times of connections. Expired elements are not listed, even before the
    kernel's nf_tables removes them.
    """

    mode: Final = "nftables"
    store_kind: Final = "set"
    counts_connections: Final = False

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedTable:
        """Return the expected objects of a Service in the newest layout of the table."""
        return expected.expected(service, proxy, node)

    def compare(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return the differences from the expected objects of a Service, in the layout of the node's table."""
        return compare.compare(snapshot.node, service, proxy, _table(snapshot))

    def compare_many(
        self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Return the differences of many Services, objects of former endpoints included."""
        return compare.compare_many(snapshot.node, services, proxy, _table(snapshot))

    def leftovers(self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig) -> Leftovers:
        """Return the chains, sets and elements that none of the cluster's Services calls for; none is deferred."""
        return Leftovers(tuple(leftovers.leftovers(snapshot.node, services, proxy, _table(snapshot))))

    def has_service(self, snapshot: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has the ``service-`` chains of a Service."""
        return all(chain in _table(snapshot) for chain in port_chains(service, CLUSTER_CHAIN))

    def needed_chain(self, service: ServiceState, proxy: ProxyConfig, node: str) -> str:
        """Return nothing: nft takes as long to list a chain of a large table as to list the table."""
        del service, proxy, node
        return ""

    def affinity_timeouts(self, snapshot: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the timeouts of a Service's affinity sets."""
        sets = ((name, _table(snapshot).sets.get(name)) for name in affinity_sets(service))
        return {name: int(nft_set.timeout) for name, nft_set in sets if nft_set and nft_set.timeout is not None}

    def normalised(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's map elements, rules and sets, without hairpin elements: those depend on the node."""
        return tuple(_lines(_table(snapshot), service))

    def expected_lines(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return the expected map elements, rules and sets in the layout of the node's table."""
        layout = layout_of(_table(snapshot))
        return tuple(_expected_lines(expected.expected(service, proxy, snapshot.node, layout)))

    def affinity_rules(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's sets, and its rules that match on a set or update one."""
        table = _table(snapshot)
        names = table.named_after(service.key)
        rules = (rule for name in names if name in table for rule in table.rules(name))
        affinity = [str(rule) for rule in rules if rule.clause("update", "add") or _matches_on_a_set(rule)]
        return (*affinity, *(line for line in _lines(table, service) if line.startswith("set ")))

    def objects_of(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the map elements, chains and sets of a Service.

        An empty chain counts as deleted: kube-proxy deletes it in a later sync, a second or more after it is flushed.
        Addresses that lead to another Service are left out: the address of a deleted Service may be in use again.
        """
        table = _table(snapshot)
        names = table.named_after(service.key)
        chains = [f"chain {name}" for name in names if table.rules(name)]
        addresses = tuple(
            address
            for address in service.cluster_ips
            if not table.leads_to_another_service(canonical(address), service.key)
        )
        elements = (*_elements(table, replace(service, cluster_ips=addresses)), *_refusals_from_outside(table, service))
        return (*elements, *chains, *(f"set {name}" for name in names if name in table.sets))

    def possible_names(self, service: ServiceState) -> frozenset[str]:
        """Return the names of the chains and affinity sets of a Service's ports and endpoints, existing or not."""
        return frozenset((*port_chains(service), *endpoint_chains(service), *affinity_sets(service)))

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the endpoints by affinity set."""
        return affinity_sets(service)

    def existing_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the affinity sets of a Service that exist on a node."""
        return tuple(name for name in affinity_sets(service) if name in _table(snapshot).sets)

    def unused_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:  # noqa: ARG002
        """Return none: kube-proxy deletes the sets of former endpoints in the sync that stops using them."""
        return ()

    def affinity_entries(
        self, snapshot: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return the elements of a Service's affinity sets; ``hz`` is not used."""
        del hz
        sets = _table(snapshot).sets
        return tuple(
            AffinityEntry(name, endpoint, canonical(element.key[0]), element.expires)
            for name, endpoint in affinity_sets(service).items()
            for element in (sets[name].elements.values() if name in sets else ())
        )

    def pin_argv(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that moves the client's element to one set, in one transaction.

        An element is added before it is deleted, because deleting one that does not exist is an error.
        """
        family = "ip6" if service.family == "IPv6" else "ip"
        steps = [(verb, name) for name in affinity_sets(service) for verb in ("add", "delete")]
        commands = [
            {verb: {"element": {"family": family, "table": TABLE, "name": name, "elem": [client]}}}
            for verb, name in (*steps, ("add", store))
        ]
        return ("nft", "-j", json.dumps({"nftables": commands}))


def _table(snapshot: NodeSnapshot) -> Table:
    return snapshot.nftables or _NOTHING


def _matches_on_a_set(rule: NftRule) -> bool:
    return any(rule.match_on(f"{ip} saddr").startswith("@") for ip in ("ip", "ip6"))


def _lines(table: Table, service: ServiceState) -> Iterator[str]:
    yield from _elements(table, service)
    names = [name for name in table.named_after(service.key) if name in table]
    for prefix in (CLUSTER_CHAIN, LOCAL_CHAIN, EXTERNAL_CHAIN, FIREWALL_CHAIN, ENDPOINT_CHAIN):
        for name in sorted(name for name in names if name.startswith(prefix)):
            yield from map(str, table.rules(name))
    for name in sorted(name for name in table.named_after(service.key) if name in table.sets):
        nft_set = table.sets[name]
        timeout = "" if nft_set.timeout is None else f" timeout {nft_set.timeout:g} s"
        yield f"set {name} {' . '.join(nft_set.type)}{timeout}"


def _expected_lines(expected: ExpectedTable) -> Iterator[str]:
    elements = (element for element in expected.elements if element.container != HAIRPINS)
    yield from (f"element {element.container} {element}" for element in elements)
    yield from (str(expected_rule.rule) for rules in expected.chains.values() for expected_rule in rules)
    for nft_set in expected.sets.values():
        timeout = "" if nft_set.timeout is None else f" timeout {nft_set.timeout} s"
        yield f"set {nft_set.name} {nft_set.type}{timeout}"


def _refusals_from_outside(table: Table, service: ServiceState) -> Iterator[str]:
    """Yield the elements that refuse or drop traffic to a Service's node ports and its addresses for outside."""
    for port in service.ports:
        protocol, addresses = port.protocol.lower(), (*service.external_ips, *service.balancer_ips)
        keys: list[tuple[str, Key]] = [(NO_ENDPOINT_NODE_PORTS, (protocol, str(port.node_port)))]
        keys += [(NO_ENDPOINTS, (canonical(address), protocol, str(port.port))) for address in addresses]
        for container, key in keys:
            if verdict := table.maps.get(container, {}).get(key):
                yield f"element {container} {' . '.join(key)} : {verdict}"


def _elements(table: Table, service: ServiceState) -> Iterator[str]:
    """Yield the elements of a Service's cluster IPs, and those that lead to its chains, as node ports do."""
    addresses = [canonical(address) for address in service.cluster_ips]
    elements = [element for address in addresses for element in table.elements_of(address)]
    elements += [element for chain in port_chains(service) for element in table.elements_to(chain)]
    cluster_ips = table.sets.get(CLUSTER_IPS)
    if cluster_ips:
        yield from (f"element {CLUSTER_IPS} {address}" for address in addresses if (address,) in cluster_ips.elements)
    refusals_last = sorted(dict.fromkeys(elements), key=lambda element: (element[0] == NO_ENDPOINTS, element))
    for container, key, verdict in refusals_last:
        yield f"element {container} {' . '.join(key)} : {verdict}"
