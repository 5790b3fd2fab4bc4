"""The rules of kube-proxy's nftables table that look up node ports, and the addresses at which it answers them.

Source: kube-proxy's pkg/proxy/nftables/proxier.go (setupNFTables, syncProxyRules), read for 1.33 to 1.37. The rule for
node ports on loopback addresses comes with the feature gate KubeProxyNFTablesLocalhostNodePorts (alpha in 1.37).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.local_traffic import LOOPBACK, is_loopback, names_loopback
from session_affinity.dataplane.nftables.layout import (
    LOCALHOST_REFUSALS,
    LOCALHOST_REJECT_CHAIN,
    NO_ENDPOINT_NODE_PORTS,
    NODE_PORT_IPS,
    NODE_PORTS_CHECK_CHAIN,
    SERVICE_NODE_PORTS,
    SERVICES_CHAIN,
    canonical,
)
from session_affinity.dataplane.nftables.rules import Clause, NftRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from session_affinity.dataplane.local_traffic import NodePortAddresses
    from session_affinity.dataplane.model import Family, ServicePort
    from session_affinity.dataplane.nftables.table import Table
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot

NODE_PORT: Final = "meta l4proto . th dport"
"""What the verdict maps of node ports are looked up by."""
_NO_ADDRESS: Final = "no address"
_MAPS: Final = {SERVICES_CHAIN: SERVICE_NODE_PORTS, NODE_PORTS_CHECK_CHAIN: NO_ENDPOINT_NODE_PORTS}
_ASPECTS: Final = {SERVICES_CHAIN: Aspect.EXTERNAL, NODE_PORTS_CHECK_CHAIN: Aspect.REFUSAL}


def is_lookup(rule: NftRule) -> bool:
    """Return whether a rule looks up node ports."""
    choice = rule.clause("vmap")
    return choice is not None and choice.subject == NODE_PORT


def expected_rules(node: str, family: Family, proxy: ProxyConfig) -> dict[str, tuple[NftRule, ...]] | None:
    """Return the rules that look up node ports, by chain; None when they are not known."""
    addresses = proxy.node_ports(node, family)
    if addresses is None:
        return None
    destination = f"{'ip6' if family == 'IPv6' else 'ip'} daddr"
    loopback = "::1" if family == "IPv6" else LOOPBACK[family]
    elsewhere = Clause("match", destination, f"!= {loopback}")
    entry: tuple[Clause, ...] = (Clause("match", "fib daddr type", "local"), elsewhere)
    check: tuple[Clause, ...] = (elsewhere,)
    if not addresses.is_any:
        entry = check = (Clause("match", destination, f"@{NODE_PORT_IPS}"),)
    lookups = {
        chain: [(*clauses, Clause("vmap", NODE_PORT, f"@{_MAPS[chain]}"))]
        for chain, clauses in ((SERVICES_CHAIN, entry), (NODE_PORTS_CHECK_CHAIN, check))
    }
    if proxy.refuses_localhost_node_ports:
        on_loopback = Clause("match", destination, loopback)
        lookups[NODE_PORTS_CHECK_CHAIN].append((on_loopback, Clause("vmap", NODE_PORT, f"@{LOCALHOST_REFUSALS}")))
    return {
        chain: tuple(NftRule(chain, number, clauses) for number, clauses in enumerate(rules, 1))
        for chain, rules in lookups.items()
    }


def has_no_address(snapshot: NodeSnapshot) -> bool:
    """Whether node ports are answered at listed addresses of a node, and none is listed (``NODE_ADDRESSES_LOST``).

    So it is, too, where none of the node's addresses is in a range of ``nodePortAddresses``.
    """
    listed = snapshot.nftables.sets.get(NODE_PORT_IPS) if snapshot.nftables else None
    return listed is not None and not listed.elements


def says_no_address(difference: Difference) -> bool:
    """Whether a difference says that no address is listed at which a node answers node ports."""
    return difference.chain == NODE_PORT_IPS and difference.seen == _NO_ADDRESS


@dataclass(frozen=True)
class NodePortComparison:
    """Compares what a node has for node ports of one IP family; ``reason`` names the Service that has some."""

    node: str
    family: Family
    proxy: ProxyConfig
    table: Table
    reason: str

    def differences(self, ports: Iterable[ServicePort]) -> Iterator[Difference]:
        """Yield the differences of what all node ports need, and of what refuses these on loopback addresses."""
        wanted = expected_rules(self.node, self.family, self.proxy)
        for chain in _ASPECTS:
            seen = [rule for rule in self.table.rules(chain) if is_lookup(rule)]
            if wanted is not None:
                yield from self._lookups(chain, wanted[chain], seen)
            elif not any(Clause("vmap", NODE_PORT, f"@{_MAPS[chain]}") in rule.clauses for rule in seen):
                yield self._at(chain, None, f"a rule with vmap @{_MAPS[chain]}", "no such rule")
        addresses = self.proxy.node_ports(self.node, self.family)
        if addresses is not None and not addresses.is_any:
            yield from self._addresses(addresses)
        if self.proxy.refuses_localhost_node_ports:
            yield from self._refusals(ports)

    def leftovers(self, ports: Iterable[ServicePort]) -> Iterator[Difference]:
        """Yield what refuses node ports of a Service that is not kube-proxy's, or not any more."""
        for port in ports:
            yield from self._refusal(port, "")

    def _lookups(self, chain: str, wanted: Sequence[NftRule], seen: Iterable[NftRule]) -> Iterator[Difference]:
        missing = [rule.clauses for rule in wanted]
        for rule in seen:
            if rule.clauses in missing:
                missing.remove(rule.clauses)
            else:
                yield self._at(chain, rule.number, ", ".join(other.spec for other in wanted), rule.spec)
        for clauses in missing:
            yield self._at(chain, None, NftRule(chain, 1, clauses).spec, "no such rule")

    def _addresses(self, addresses: NodePortAddresses) -> Iterator[Difference]:
        """Yield addresses that are missing in the set or too many; the node may have more than its status says."""
        nft_set = self.table.sets.get(NODE_PORT_IPS)
        seen = [key[0] for key in nft_set.elements] if nft_set else []
        of_node = self.proxy.node_address(self.node, self.family)
        if of_node and addresses.include(of_node) and not is_loopback(of_node) and canonical(of_node) not in seen:
            yield self._at(NODE_PORT_IPS, None, canonical(of_node), ", ".join(seen) or _NO_ADDRESS)
        for address in seen:
            if is_loopback(address) or not addresses.include(address):
                yield self._at(NODE_PORT_IPS, None, f"addresses in {', '.join(addresses.ranges)}", address)

    def _refusals(self, ports: Iterable[ServicePort]) -> Iterator[Difference]:
        """Yield node ports that kube-proxy has to refuse on loopback addresses, since it does not listen there."""
        serves_tcp = names_loopback(self.proxy.node_port_addresses)
        for port in ports:
            protocol = port.protocol.lower()
            is_served = protocol == "tcp" and serves_tcp
            yield from self._refusal(port, "" if is_served else f"goto {LOCALHOST_REJECT_CHAIN}{protocol}")

    def _refusal(self, port: ServicePort, wanted: str) -> Iterator[Difference]:
        key = (port.protocol.lower(), str(port.node_port))
        seen = self.table.maps.get(LOCALHOST_REFUSALS, {}).get(key, "")
        if port.node_port and seen != wanted:
            texts = (f"{' . '.join(key)}: {verdict or 'no such element'}" for verdict in (wanted, seen))
            yield self._at(LOCALHOST_REFUSALS, None, *texts)

    def _at(self, place: str, rule: int | None, wanted: str, seen: str) -> Difference:
        aspect = _ASPECTS.get(place, Aspect.REFUSAL if place == LOCALHOST_REFUSALS else Aspect.EXTERNAL)
        return Difference(self.node, place, rule, aspect, wanted, seen, self.reason)
