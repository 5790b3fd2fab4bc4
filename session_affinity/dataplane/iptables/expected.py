"""Compute the nat rules that kube-proxy in iptables mode writes for one Service.

Source: kube-proxy's pkg/proxy/iptables/proxier.go (syncProxyRules, writeServiceToEndpointRules), unchanged in this part
from 1.24 on. Of the chains that filter by the source ranges of a load balancer (KUBE-FW) only the names are computed,
not the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.iptables.save import Rule, parse_rule
from session_affinity.dataplane.pairing import ExpectedRule, RuleKind
from session_affinity.dataplane.topology import usable_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig

SERVICES_CHAIN: Final = "KUBE-SERVICES"
NODE_PORTS_CHAIN: Final = "KUBE-NODEPORTS"
ENTRY_CHAINS: Final = (SERVICES_CHAIN, NODE_PORTS_CHAIN)
"""The shared chains with the rules that lead to the chains of Services."""
MASQUERADE_CHAIN: Final = "KUBE-MARK-MASQ"
_FULL_LENGTH: Final = {"IPv4": 32, "IPv6": 128}
_PREFIXES: Final = (
    chain_names.CLUSTER_CHAIN,
    chain_names.LOCAL_CHAIN,
    chain_names.EXTERNAL_CHAIN,
    chain_names.FIREWALL_CHAIN,
)
FULL_MASK: Final = {"IPv4": "255.255.255.255", "IPv6": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
"""The ``--mask`` of single addresses, by IP family; some versions of iptables print it, others omit it."""


@dataclass(frozen=True)
class ExpectedChains:
    """The expected nat rules of one Service on one node.

    ``entries`` are the Service's rules in KUBE-SERVICES and KUBE-NODEPORTS. ``chains`` belong to the Service alone:
    first service chains, then endpoint chains. ``port_chains`` are all names that chains of its ports can have, whether
    expected or not; ``external_chains`` those that may exist although their rules are not computed.
    """

    entries: tuple[ExpectedRule[Rule], ...]
    chains: Mapping[str, tuple[ExpectedRule[Rule], ...]]
    port_chains: tuple[str, ...]
    external_chains: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the chains that belong to the Service alone."""
        return tuple(self.chains)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every expected rule."""
        chain_rules = (expected_rule for rules in self.chains.values() for expected_rule in rules)
        return tuple(expected_rule.rule for expected_rule in (*self.entries, *chain_rules))


def expected(service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedChains:
    """Return the expected rules of a Service; the node's name selects its zone and its local endpoints."""
    entries: list[ExpectedRule[Rule]] = []
    services: dict[str, tuple[ExpectedRule[Rule], ...]] = {}
    endpoints: dict[str, tuple[ExpectedRule[Rule], ...]] = {}
    for port in service.ports if service.cluster_ips else ():
        builder = _Builder(service, port, proxy)
        usable = usable_endpoints(service, port, node, proxy.zones.get(node, ""))
        by_chain = {
            builder.chain(chain_names.CLUSTER_CHAIN): usable.cluster,
            builder.chain(chain_names.LOCAL_CHAIN): usable.local,
        }
        internal = builder.chain(
            chain_names.LOCAL_CHAIN if service.internal_policy == "Local" else chain_names.CLUSTER_CHAIN
        )
        if by_chain[internal]:
            entries += builder.entries(internal)
        if builder.is_reached_from_outside:
            entries += builder.external_entries()
            services[builder.chain(chain_names.EXTERNAL_CHAIN)] = tuple(
                builder.external_rules(has_local=bool(usable.local))
            )
        for chain, balanced in by_chain.items():
            if balanced:
                services[chain] = tuple(builder.service_rules(chain, balanced, is_internal=chain == internal))
                endpoints |= {builder.endpoint_chain(e): tuple(builder.endpoint_rules(e)) for e in balanced}
    filtered = service.source_ranges and service.balancer_ips and service.endpoints
    return ExpectedChains(
        tuple(entries),
        MappingProxyType({**services, **endpoints}),
        port_chains(service),
        port_chains(service, chain_names.FIREWALL_CHAIN) if filtered else (),
    )


def endpoint_chains(service: ServiceState) -> Mapping[str, Endpoint]:
    """Return the endpoints by their KUBE-SEP chain; the recent list of an endpoint has the same name."""
    return {
        chain_names.iptables_endpoint_chain(service.port_name(port), port.protocol, endpoint.at): endpoint
        for port in service.ports
        for endpoint in (*port.endpoints, *port.serving_terminating)
    }


def port_chains(service: ServiceState, *prefixes: str) -> tuple[str, ...]:
    """Return the names of the chains of a Service's ports, existing or not: with these prefixes, or with all."""
    return tuple(
        chain_names.iptables_service_chain(service.port_name(port), port.protocol, prefix)
        for port in service.ports
        for prefix in prefixes or _PREFIXES
    )


def balancing_chains(service: ServiceState) -> tuple[str, ...]:
    """Return the names of the chains that choose an endpoint (KUBE-SVC, KUBE-SVL), existing or not."""
    return port_chains(service, chain_names.CLUSTER_CHAIN, chain_names.LOCAL_CHAIN)


def classify(rule: Rule) -> RuleKind:
    """Return the purpose of a rule of a service or endpoint chain, judged by its target and matches."""
    if rule.target == MASQUERADE_CHAIN:
        return RuleKind.MASQUERADE
    if rule.target == "DNAT":
        return RuleKind.TRANSLATE
    if rule.target.startswith(chain_names.ENDPOINT_CHAIN):
        return RuleKind.AFFINITY if rule.match("recent") else RuleKind.BALANCE
    if rule.target.startswith((chain_names.CLUSTER_CHAIN, chain_names.LOCAL_CHAIN)):
        return RuleKind.EXTERNAL
    return RuleKind.OTHER


@dataclass(frozen=True)
class _Builder:
    """Writes the rules of one port in the format of iptables-save, and parses them."""

    service: ServiceState
    port: ServicePort
    proxy: ProxyConfig

    def chain(self, prefix: str) -> str:
        return chain_names.iptables_service_chain(self.service.port_name(self.port), self.port.protocol, prefix)

    def endpoint_chain(self, endpoint: Endpoint) -> str:
        return chain_names.iptables_endpoint_chain(self.service.port_name(self.port), self.port.protocol, endpoint.at)

    @property
    def is_reached_from_outside(self) -> bool:
        outer = self.port.node_port or self.service.external_ips or self.service.balancer_ips
        return bool(outer and self.port.endpoints)

    def entries(self, chain: str) -> Iterator[ExpectedRule[Rule]]:
        for address in self.service.cluster_ips:
            yield self._rule(RuleKind.ENTRY, SERVICES_CHAIN, f"{self._to_port(address)} -j {chain}", self._about)

    def external_entries(self) -> Iterator[ExpectedRule[Rule]]:
        """Yield the rules from external addresses, load balancer addresses and the node port to the external chain."""
        chain = self.chain(chain_names.EXTERNAL_CHAIN)
        filtering = self.chain(chain_names.FIREWALL_CHAIN) if self.service.source_ranges else chain
        leads = [(address, chain) for address in self.service.external_ips]
        leads += [(address, filtering) for address in self.service.balancer_ips]
        for address, target in leads:
            yield self._rule(RuleKind.EXTERNAL, SERVICES_CHAIN, f"{self._to_port(address)} -j {target}", self._about)
        if self.port.node_port:
            text = f"{self._with_port(self.port.node_port)} -j {chain}"
            yield self._rule(RuleKind.EXTERNAL, NODE_PORTS_CHAIN, text, f"node port {self.port.node_port}")

    def external_rules(self, *, has_local: bool) -> Iterator[ExpectedRule[Rule]]:
        """Yield the rules of KUBE-EXT: to all endpoints under Cluster, to the node's local endpoints under Local.

        Traffic from pods and from the node itself goes to all endpoints under either policy.
        """
        chain, balancing = self.chain(chain_names.EXTERNAL_CHAIN), self.chain(chain_names.CLUSTER_CHAIN)
        if self.service.external_policy != "Local":
            yield self._rule(RuleKind.MASQUERADE, chain, f"-j {MASQUERADE_CHAIN}", self._about)
            yield self._rule(RuleKind.EXTERNAL, chain, f"-j {balancing}", self._about)
            return
        if pods := self.proxy.pod_range(self.service.family):
            text = f"-s {pods} -j {balancing}"
            yield self._rule(RuleKind.EXTERNAL, chain, text, f"pods, {self._about}")
        from_node = "-m addrtype --src-type LOCAL"
        yield self._rule(RuleKind.MASQUERADE, chain, f"{from_node} -j {MASQUERADE_CHAIN}", f"the node, {self._about}")
        yield self._rule(RuleKind.EXTERNAL, chain, f"{from_node} -j {balancing}", f"the node, {self._about}")
        if has_local:
            yield self._rule(RuleKind.EXTERNAL, chain, f"-j {self.chain(chain_names.LOCAL_CHAIN)}", self._about)

    def service_rules(
        self, chain: str, endpoints: tuple[Endpoint, ...], *, is_internal: bool
    ) -> Iterator[ExpectedRule[Rule]]:
        pods = self.proxy.pod_range(self.service.family)
        if is_internal and pods:
            for address in self.service.cluster_ips:
                text = f"! -s {pods} {self._to_port(address)} -j {MASQUERADE_CHAIN}"
                yield self._rule(RuleKind.MASQUERADE, chain, text, self._about)
        for endpoint in endpoints if self.service.has_affinity else ():
            target = self.endpoint_chain(endpoint)
            text = f"{self._recent(f'--rcheck --seconds {self.service.timeout_seconds} --reap', target)} -j {target}"
            yield self._rule(RuleKind.AFFINITY, chain, text, str(endpoint), endpoint)
        for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            statistic = f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else ""
            text = f"{statistic}-j {self.endpoint_chain(endpoint)}"
            yield self._rule(RuleKind.BALANCE, chain, text, str(endpoint), endpoint)

    def endpoint_rules(self, endpoint: Endpoint) -> Iterator[ExpectedRule[Rule]]:
        chain, protocol = self.endpoint_chain(endpoint), self.port.protocol.lower()
        text = f"-s {self._host(endpoint.address)} -j {MASQUERADE_CHAIN}"
        yield self._rule(RuleKind.MASQUERADE, chain, text, str(endpoint), endpoint)
        recent = f"{self._recent('--set', chain)} " if self.service.has_affinity else ""
        text = f"-p {protocol} {recent}-m {protocol} -j DNAT --to-destination {endpoint.at}"
        yield self._rule(RuleKind.TRANSLATE, chain, text, str(endpoint), endpoint)

    @property
    def _about(self) -> str:
        return f"port {self.port.port}/{self.port.protocol}"

    def _rule(
        self, kind: RuleKind, chain: str, text: str, about: str, endpoint: Endpoint | None = None
    ) -> ExpectedRule[Rule]:
        return ExpectedRule(kind, parse_rule(f"-A {chain} {text}"), about, endpoint)

    def _to_port(self, address: str) -> str:
        return f"-d {self._host(address)} {self._with_port(self.port.port)}"

    def _with_port(self, number: int) -> str:
        protocol = self.port.protocol.lower()
        return f"-p {protocol} -m {protocol} --dport {number}"

    def _recent(self, what: str, name: str) -> str:
        return f"-m recent {what} --name {name} --mask {FULL_MASK[self.service.family]} --rsource"

    def _host(self, address: str) -> str:
        return f"{address}/{_FULL_LENGTH[self.service.family]}"
