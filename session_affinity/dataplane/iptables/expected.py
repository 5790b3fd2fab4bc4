"""Compute the rules of the tables nat and filter that kube-proxy in iptables mode writes for one Service.

Source: kube-proxy's pkg/proxy/iptables/proxier.go (syncProxyRules, writeServiceToEndpointRules, iptablesJumpChains),
read for 1.33 to 1.37, where this part is unchanged. Rules are spelled as iptables-save 1.8 prints them, so that most
of a node's rules are equal as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.iptables.save import Rule
from session_affinity.dataplane.pairing import ExpectedRule, RuleKind
from session_affinity.dataplane.topology import includes, usable_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.local_traffic import LocalTraffic
    from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig

NAT: Final = "nat"
FILTER: Final = "filter"
SERVICES_CHAIN: Final = "KUBE-SERVICES"
NODE_PORTS_CHAIN: Final = "KUBE-NODEPORTS"
ENTRY_CHAINS: Final = (SERVICES_CHAIN, NODE_PORTS_CHAIN)
"""The shared chains with the rules that lead to the chains of Services."""
EXTERNAL_SERVICES_CHAIN: Final = "KUBE-EXTERNAL-SERVICES"
PROXY_FIREWALL_CHAIN: Final = "KUBE-PROXY-FIREWALL"
FORWARD_CHAIN: Final = "KUBE-FORWARD"
FILTER_CHAINS: Final = (SERVICES_CHAIN, EXTERNAL_SERVICES_CHAIN, PROXY_FIREWALL_CHAIN, NODE_PORTS_CHAIN)
"""The shared chains of the filter table with rules of Services."""
MASQUERADE_CHAIN: Final = "KUBE-MARK-MASQ"
POSTROUTING_CHAIN: Final = "KUBE-POSTROUTING"
FULL_LENGTH: Final = {"IPv4": 32, "IPv6": 128}
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
    """The expected rules of one Service on one node.

    ``entries`` are the Service's rules in KUBE-SERVICES and KUBE-NODEPORTS of the nat table, ``filters`` those in
    ``FILTER_CHAINS`` of the filter table. ``chains`` belong to the Service alone: first service chains, then endpoint
    chains. ``port_chains`` are all names that chains of its ports can have, whether expected or not.
    """

    entries: tuple[ExpectedRule[Rule], ...]
    filters: tuple[ExpectedRule[Rule], ...]
    chains: Mapping[str, tuple[ExpectedRule[Rule], ...]]
    port_chains: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the chains that belong to the Service alone."""
        return tuple(self.chains)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every expected rule of the nat table."""
        chain_rules = (expected_rule for rules in self.chains.values() for expected_rule in rules)
        return tuple(expected_rule.rule for expected_rule in (*self.entries, *chain_rules))


@dataclass(frozen=True)
class SharedIptablesRules:
    """The rules that every Service needs: jumps to the chains of kube-proxy, masquerading and forwarding.

    ``chains`` are kube-proxy's own and have no other rules, by table and name; ``jumps`` are in built-in chains, whose
    other rules are not kube-proxy's.
    """

    chains: Mapping[tuple[str, str], tuple[ExpectedRule[Rule], ...]]
    jumps: tuple[tuple[str, ExpectedRule[Rule]], ...]


# Cached: a wait for a sync asks for the same ones at every reading, and so does claim after claim.
@lru_cache(maxsize=1 << 11)
def expected(service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedChains:
    """Return the expected rules of a Service; the node's name selects its zone and its local endpoints."""
    entries: list[ExpectedRule[Rule]] = []
    filters: list[ExpectedRule[Rule]] = []
    services: dict[str, tuple[ExpectedRule[Rule], ...]] = {}
    endpoints: dict[str, tuple[ExpectedRule[Rule], ...]] = {}
    for port in service.ports if service.cluster_ips else ():
        builder = _Builder(service, port, proxy, node)
        usable = usable_endpoints(
            service, port, node, proxy.zones.get(node, ""), with_node_hints=proxy.follows_node_hints
        )
        by_chain = {
            builder.chain(chain_names.CLUSTER_CHAIN): usable.cluster,
            builder.chain(chain_names.LOCAL_CHAIN): usable.local,
        }
        internal = builder.chain(
            chain_names.LOCAL_CHAIN if service.internal_policy == "Local" else chain_names.CLUSTER_CHAIN
        )
        has_external = bool(usable.local if service.external_policy == "Local" else port.endpoints)
        filters += builder.filter_rules(has_internal=bool(by_chain[internal]), has_external=has_external)
        if by_chain[internal]:
            entries += builder.entries(internal)
        if builder.is_reached_from_outside:
            entries += builder.external_entries()
            services[builder.chain(chain_names.EXTERNAL_CHAIN)] = tuple(
                builder.external_rules(has_local=bool(usable.local))
            )
        if builder.uses_firewall:
            services[builder.chain(chain_names.FIREWALL_CHAIN)] = tuple(builder.firewall_rules())
        for chain, balanced in by_chain.items():
            if balanced:
                services[chain] = tuple(builder.service_rules(chain, balanced, is_internal=chain == internal))
                endpoints |= {builder.endpoint_chain(e): tuple(builder.endpoint_rules(e)) for e in balanced}
    return ExpectedChains(
        tuple(entries), tuple(filters), MappingProxyType({**services, **endpoints}), port_chains(service)
    )


def shared_rules(proxy: ProxyConfig) -> SharedIptablesRules:
    """Return the rules that every Service needs.

    Whether packets in state INVALID are dropped depends on the node's nf_conntrack_tcp_be_liberal, so that rule is
    optional. The chain KUBE-FIREWALL of the filter table is left out: kubelet writes the same rule.
    """
    mark = f"{1 << proxy.masquerade_bit:#x}"
    masquerade, forward = "masquerading of Services", "forwarding of Services"
    chains = {
        (NAT, MASQUERADE_CHAIN): [(RuleKind.MASQUERADE, f"-j MARK --set-xmark {mark}/{mark}", masquerade)],
        (NAT, POSTROUTING_CHAIN): [
            (RuleKind.MASQUERADE, f"-m mark ! --mark {mark}/{mark} -j RETURN", masquerade),
            (RuleKind.MASQUERADE, f"-j MARK --set-xmark {mark}/0x0", masquerade),
            (RuleKind.MASQUERADE, "-j MASQUERADE --random-fully", masquerade),
        ],
        (FILTER, FORWARD_CHAIN): [
            (RuleKind.FORWARD, "-m conntrack --ctstate INVALID -j DROP", "invalid packets"),
            (RuleKind.FORWARD, f"-m mark --mark {mark}/{mark} -j ACCEPT", forward),
            (RuleKind.FORWARD, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", forward),
        ],
    }
    new = "-m conntrack --ctstate NEW "
    jumps = [
        (NAT, "PREROUTING", "", SERVICES_CHAIN, RuleKind.ENTRY),
        (NAT, "OUTPUT", "", SERVICES_CHAIN, RuleKind.ENTRY),
        (NAT, "POSTROUTING", "", POSTROUTING_CHAIN, RuleKind.MASQUERADE),
        (FILTER, "INPUT", new, EXTERNAL_SERVICES_CHAIN, RuleKind.REFUSE),
        (FILTER, "FORWARD", new, EXTERNAL_SERVICES_CHAIN, RuleKind.REFUSE),
        (FILTER, "INPUT", "", NODE_PORTS_CHAIN, RuleKind.HEALTH_CHECK),
        (FILTER, "FORWARD", new, SERVICES_CHAIN, RuleKind.REFUSE),
        (FILTER, "OUTPUT", new, SERVICES_CHAIN, RuleKind.REFUSE),
        (FILTER, "FORWARD", "", FORWARD_CHAIN, RuleKind.FORWARD),
        (FILTER, "INPUT", new, PROXY_FIREWALL_CHAIN, RuleKind.FIREWALL),
        (FILTER, "OUTPUT", new, PROXY_FIREWALL_CHAIN, RuleKind.FIREWALL),
        (FILTER, "FORWARD", new, PROXY_FIREWALL_CHAIN, RuleKind.FIREWALL),
    ]
    return SharedIptablesRules(
        {
            (table, chain): tuple(
                ExpectedRule(kind, Rule(chain, number, text), about, optional="INVALID" in text)
                for number, (kind, text, about) in enumerate(rules, 1)
            )
            for (table, chain), rules in chains.items()
        },
        tuple(
            (table, ExpectedRule(kind, Rule(chain, 1, f"{matches}-j {target}"), f"the jump to {target}"))
            for table, chain, matches, target, kind in jumps
        ),
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
    if rule.chain.startswith(chain_names.FIREWALL_CHAIN):
        return RuleKind.FIREWALL
    return RuleKind.OTHER


@dataclass(frozen=True)
class _Builder:
    """Writes the rules of one port in the format of iptables-save, and parses them."""

    service: ServiceState
    port: ServicePort
    proxy: ProxyConfig
    node: str

    def chain(self, prefix: str) -> str:
        return chain_names.iptables_service_chain(self.service.port_name(self.port), self.port.protocol, prefix)

    def endpoint_chain(self, endpoint: Endpoint) -> str:
        return chain_names.iptables_endpoint_chain(self.service.port_name(self.port), self.port.protocol, endpoint.at)

    @property
    def is_reached_from_outside(self) -> bool:
        return bool(self.service.is_external(self.port) and self.port.endpoints)

    @property
    def uses_firewall(self) -> bool:
        """Whether the source ranges of a load balancer need a chain of their own."""
        return bool(self.port.endpoints and self.service.balancer_ips and self.service.source_ranges)

    def entries(self, chain: str) -> Iterator[ExpectedRule[Rule]]:
        for address in self.service.cluster_ips:
            yield self._rule(RuleKind.ENTRY, SERVICES_CHAIN, f"{self._to_port(address)} -j {chain}", self._about)

    def external_entries(self) -> Iterator[ExpectedRule[Rule]]:
        """Yield the rules from external addresses, load balancer addresses and the node port to the external chain."""
        chain = self.chain(chain_names.EXTERNAL_CHAIN)
        filtering = self.chain(chain_names.FIREWALL_CHAIN) if self.uses_firewall else chain
        leads = [(address, chain) for address in self._external_ips]
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
        if pods := self.proxy.local_traffic(self.service.family):
            text = f"{_matching(pods)} -j {balancing}"
            yield self._rule(RuleKind.EXTERNAL, chain, text, f"pods, {self._about}")
        from_node = "-m addrtype --src-type LOCAL"
        yield self._rule(RuleKind.MASQUERADE, chain, f"{from_node} -j {MASQUERADE_CHAIN}", f"the node, {self._about}")
        yield self._rule(RuleKind.EXTERNAL, chain, f"{from_node} -j {balancing}", f"the node, {self._about}")
        if has_local:
            yield self._rule(RuleKind.EXTERNAL, chain, f"-j {self.chain(chain_names.LOCAL_CHAIN)}", self._about)

    def firewall_rules(self) -> Iterator[ExpectedRule[Rule]]:
        """Yield the rules of KUBE-FW: clients in the source ranges go on to KUBE-EXT, the last rule does nothing.

        Where a range contains the node's own address, so do connections from the load balancer's address: the node's
        own connections to it come back with that source.
        """
        chain, onward = self.chain(chain_names.FIREWALL_CHAIN), self.chain(chain_names.EXTERNAL_CHAIN)
        for source in self.service.source_ranges:
            yield self._rule(RuleKind.FIREWALL, chain, f"{self._from(source)}-j {onward}", f"source range {source}")
        allows_node = includes(self.service.source_ranges, self.proxy.node_address(self.node, self.service.family))
        for address in self.service.balancer_ips if allows_node is not False else ():
            text, about = f"-s {self._host(address)} -j {onward}", f"the node's own connections to {address}"
            yield self._rule(RuleKind.FIREWALL, chain, text, about, optional=allows_node is None)
        yield self._rule(RuleKind.FIREWALL, chain, "", "all other sources")

    def filter_rules(self, *, has_internal: bool, has_external: bool) -> Iterator[ExpectedRule[Rule]]:
        """Yield the rules of the filter table: refusals, the end of the firewall chain, health checks.

        Traffic that no endpoint on this node can take is rejected while no node has one, and dropped otherwise.
        """
        refusal = f"-j {'DROP' if self.port.endpoints else self._reject}"
        refused = [(SERVICES_CHAIN, address) for address in (() if has_internal else self.service.cluster_ips)]
        outer = (*self._external_ips, *self.service.balancer_ips)
        if not has_external:
            refused += [(EXTERNAL_SERVICES_CHAIN, address) for address in outer]
        for chain, address in refused:
            yield self._rule(RuleKind.REFUSE, chain, f"{self._to_port(address)} {refusal}", self._about)
        for address in self.service.balancer_ips if self.uses_firewall else ():
            yield self._rule(RuleKind.FIREWALL, PROXY_FIREWALL_CHAIN, f"{self._to_port(address)} -j DROP", self._about)
        if self.port.node_port and not has_external:
            protocol = self.port.protocol.lower()
            local = f"-p {protocol} -m addrtype --dst-type LOCAL -m {protocol} --dport {self.port.node_port}"
            about = f"node port {self.port.node_port}"
            yield self._rule(RuleKind.REFUSE, EXTERNAL_SERVICES_CHAIN, f"{local} {refusal}", about)
        if self.service.health_check_node_port:
            text = f"-p tcp -m tcp --dport {self.service.health_check_node_port} -j ACCEPT"
            yield self._rule(RuleKind.HEALTH_CHECK, NODE_PORTS_CHAIN, text, "health checks of the load balancer")

    def service_rules(
        self, chain: str, endpoints: tuple[Endpoint, ...], *, is_internal: bool
    ) -> Iterator[ExpectedRule[Rule]]:
        pods = self.proxy.local_traffic(self.service.family)
        if is_internal and (pods or self.proxy.masquerade_all):
            for address in self.service.cluster_ips:
                not_from_pods = _matching(pods, "! ") if pods and not self.proxy.masquerade_all else ""
                text = f"{self._to_port(address, not_from_pods)} -j {MASQUERADE_CHAIN}"
                yield self._rule(RuleKind.MASQUERADE, chain, text, self._about)
        for endpoint in endpoints if self.service.has_affinity else ():
            target = self.endpoint_chain(endpoint)
            text = f"{self._recent(f'--rcheck --seconds {self.service.timeout_seconds} --reap', target)} -j {target}"
            yield self._rule(RuleKind.AFFINITY, chain, text, str(endpoint), endpoint)
        for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            statistic = f"-m statistic --mode random --probability {_probability(left)} " if left > 1 else ""
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
    def _external_ips(self) -> tuple[str, ...]:
        return self.service.external_ips if self.proxy.allows_external_ips else ()

    @property
    def _about(self) -> str:
        return f"port {self.port.port}/{self.port.protocol}"

    @property
    def _reject(self) -> str:
        return f"REJECT --reject-with {'icmp6' if self.service.family == 'IPv6' else 'icmp'}-port-unreachable"

    def _rule(
        self,
        kind: RuleKind,
        chain: str,
        text: str,
        about: str,
        endpoint: Endpoint | None = None,
        *,
        optional: bool = False,
    ) -> ExpectedRule[Rule]:
        return ExpectedRule(kind, Rule(chain, 1, text), about, endpoint, optional)

    def _from(self, source: str) -> str:
        """Return the match on a range; iptables prints none for the range of all addresses."""
        return "" if source.endswith("/0") else f"-s {source} "

    def _to_port(self, address: str, source: str = "") -> str:
        """Return the match on address and port, and on a source, in the order in which iptables prints them."""
        addresses = [f"-d {self._host(address)}"]
        if source:
            addresses.insert(1 if " -i " in source else 0, source)
        return f"{' '.join(addresses)} {self._with_port(self.port.port)}"

    def _with_port(self, number: int) -> str:
        protocol = self.port.protocol.lower()
        return f"-p {protocol} -m {protocol} --dport {number}"

    def _recent(self, what: str, name: str) -> str:
        return f"-m recent {what} --name {name} --mask {FULL_MASK[self.service.family]} --rsource"

    def _host(self, address: str) -> str:
        return f"{address}/{FULL_LENGTH[self.service.family]}"


def _matching(pods: LocalTraffic, negation: str = "") -> str:
    """Return the match on the traffic of pods, or on all other traffic with ``! `` for ``negation``."""
    if pods.pod_range:
        return f"{negation}-s {pods.pod_range}"
    return f"{negation}-i {pods.interface}{'+' if pods.is_prefix else ''}"


def _probability(parts: int) -> str:
    """Return one share of equal parts as iptables-save prints it.

    kube-proxy writes ten digits, and the kernel keeps a multiple of 2^-31.
    """
    return f"{round(float(f'{1 / parts:.10f}') * (1 << 31)) / (1 << 31):.11f}"
