"""kube-proxy's iptables mode as a dataplane of the suite: rules of the nat table, and lists of ``xt_recent``."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import xt_recent
from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.chain_names import CLUSTER_CHAIN
from session_affinity.dataplane.iptables import compare, expected, queries
from session_affinity.dataplane.iptables.expected import NODE_PORTS_CHAIN, SERVICES_CHAIN, endpoint_chains, port_chains
from session_affinity.dataplane.iptables.rule_diff import destination
from session_affinity.dataplane.iptables.save import Chain, Ruleset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.iptables.expected import ExpectedChains
    from session_affinity.dataplane.iptables.save import Rule
    from session_affinity.dataplane.model import Endpoint, ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot


class RulesOfServices:
    """A node's rules sorted by Service, so that comparing for many does not look through all rules for each.

    Chains of former endpoints are not among them: a claim about leftovers needs the node's whole ruleset.
    """

    def __init__(self, ruleset: Ruleset) -> None:
        self._chains = ruleset.chains()
        self._entries: dict[str, list[Rule]] = defaultdict(list)
        self._node_ports: dict[tuple[str, ...], list[Rule]] = defaultdict(list)
        self._to_node_ports = [rule for rule in ruleset.rules(SERVICES_CHAIN) if rule.target == NODE_PORTS_CHAIN]
        for rule in ruleset.rules(SERVICES_CHAIN):
            self._entries[(rule.value("-d") or "").partition("/")[0]].append(rule)
        for rule in ruleset.rules(NODE_PORTS_CHAIN):
            self._node_ports[destination(rule)[1:]].append(rule)

    def of(self, service: ServiceState) -> Ruleset:
        """Return the rules of one Service."""
        names = (*port_chains(service), *endpoint_chains(service))
        addresses = (*service.cluster_ips, *service.external_ips, *service.balancer_ips)
        ports = [(port.protocol.lower(), str(port.node_port)) for port in service.ports if port.node_port]
        leading = [rule for address in addresses for rule in self._entries.get(address, ())]
        entries = {
            SERVICES_CHAIN: [*leading, *self._to_node_ports],
            NODE_PORTS_CHAIN: [rule for port in ports for rule in self._node_ports.get(port, ())],
        }
        chains = {name: self._chains[name] for name in names if name in self._chains}
        return Ruleset({"nat": {**{name: Chain(name, rules=tuple(own)) for name, own in entries.items()}, **chains}})


class Iptables:
    """Answers from ``NodeSnapshot.ruleset`` and ``NodeSnapshot.lists``; see ``backend.Dataplane`` for the questions."""

    mode: Final = "iptables"
    store_kind: Final = "list"
    counts_connections: Final = True

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedChains:
        """Return the nat rules of a Service on a node."""
        return expected.expected(service, proxy, node)

    def compare(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return how a node's rules for a Service differ from what it calls for; chains of former endpoints count."""
        return compare.compare(state.node, service, proxy, state.ruleset)

    def compare_many(
        self, state: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Compare for many Services; chains of former endpoints are overlooked."""
        rules = RulesOfServices(state.ruleset)
        return {own: compare.compare(state.node, own, proxy, rules.of(own)) for own in services}

    def has_service(self, state: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has the chains that balance a Service's ports."""
        return state.ruleset.chains().keys() >= set(port_chains(service, CLUSTER_CHAIN))

    def affinity_timeouts(self, state: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the ``--seconds`` of the rcheck rules by list."""
        return queries.affinity_timeouts(service, state.ruleset)

    def normalised(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's rules without counters and comments."""
        return queries.normalised(service, state.ruleset)

    def expected_lines(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return the nat rules of a Service on a node, one a line."""
        return tuple(map(str, expected.expected(service, proxy, state.node).rules))

    def affinity_rules(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's rules that match with ``recent``."""
        return queries.affinity_rules(service, state.ruleset)

    def objects_of(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the entry rules, chains and lists of a Service."""
        chains = queries.objects_of(service, state.ruleset)
        own = {*endpoint_chains(service), *queries.own_endpoint_chains(service, state.ruleset)}
        return (*chains, *(f"list {name}" for name in state.lists if name in own))

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the endpoints by list: each list has the name of its endpoint's chain."""
        return endpoint_chains(service)

    def existing_stores(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return those of a Service's lists that a node has."""
        return tuple(name for name in endpoint_chains(service) if name in state.lists)

    def affinity_entries(
        self, state: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return the entries of a Service's lists, live or not."""
        return tuple(_remembered(state, service, hz))

    def pinning(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that writes to the lists; it ends with 1 when one of them is not there."""
        others = (name for name in endpoint_chains(service) if name != store)
        entries = [(name, xt_recent.forget(client)) for name in others]
        entries += [(store, xt_recent.forget(client)), (store, xt_recent.remember(client))]
        return ("sh", "-c", xt_recent.WRITE_SCRIPT, "write", *(word for entry in entries for word in entry))


def _remembered(state: NodeSnapshot, service: ServiceState, hz: int | None) -> Iterator[AffinityEntry]:
    known = hz is not None and state.jiffies is not None and service.timeout_seconds is not None
    for name, endpoint in endpoint_chains(service).items():
        for entry in state.lists[name].entries if name in state.lists else ():
            left = entry.expires_in(state.clock(hz or 0), service.timeout_seconds or 0) if known else None
            yield AffinityEntry(name, endpoint, entry.address, left, entry)
