"""Compute the map elements, chains and affinity sets that kube-proxy in nftables mode writes for one Service.

Source: kube-proxy's pkg/proxy/nftables/proxier.go (setupNFTables, syncProxyRules, writeServiceToEndpointJumps and
-DNATs), read for 1.33 to 1.37.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.nftables.layout import (
    CLUSTER_CHAIN,
    CLUSTER_IPS,
    CLUSTER_IPS_CHECK_CHAIN,
    DROP,
    ENDPOINTS_CHECK_CHAIN,
    EXTERNAL_CHAIN,
    FIREWALL_CHAIN,
    FIREWALL_CHECK_CHAIN,
    FIREWALL_IPS,
    HAIRPINS,
    LOCAL_CHAIN,
    MARK_CHAIN,
    MASQUERADING_CHAIN,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINTS,
    NODE_PORTS_CHECK_CHAIN,
    REJECT,
    REJECT_CHAIN,
    SERVICE_IPS,
    SERVICE_NODE_PORTS,
    SERVICES_CHAIN,
    TableLayout,
    canonical,
)
from session_affinity.dataplane.nftables.rules import Clause, NftRule
from session_affinity.dataplane.nftables.table import Hook
from session_affinity.dataplane.pairing import ExpectedRule, RuleKind
from session_affinity.dataplane.topology import includes, usable_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.local_traffic import LocalTraffic
    from session_affinity.dataplane.model import Endpoint, Family, ServicePort, ServiceState
    from session_affinity.dataplane.nftables.table import Key
    from session_affinity.dataplane.proxy_config import ProxyConfig


@dataclass(frozen=True)
class ExpectedElement:
    """An element of a verdict map, or of a set when ``verdict`` is empty, and its purpose."""

    container: str
    key: Key
    verdict: str
    kind: RuleKind
    about: str

    def __str__(self) -> str:
        return f"{' . '.join(self.key)} : {self.verdict}" if self.verdict else " . ".join(self.key)


@dataclass(frozen=True)
class ExpectedSet:
    """The affinity set of an endpoint; ``timeout`` is in seconds."""

    name: str
    type: str
    timeout: int | None
    endpoint: Endpoint


@dataclass(frozen=True)
class ExpectedTable:
    """The expected objects of one Service on one node.

    ``elements`` are its elements in shared maps and sets. ``chains`` and ``sets`` belong to the Service alone.
    ``optional`` are redundant clauses that some versions write in rules with a masquerade mark. ``optional_sources``
    are addresses that its firewall chains may let in or not, as the node's own address is not known.
    """

    elements: tuple[ExpectedElement, ...]
    chains: Mapping[str, tuple[ExpectedRule[NftRule], ...]]
    sets: Mapping[str, ExpectedSet]
    optional: frozenset[Clause] = field(default_factory=frozenset)
    optional_sources: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the chains and sets that belong to the Service alone."""
        return (*self.chains, *self.sets)


def expected(
    service: ServiceState,
    proxy: ProxyConfig,
    node: str = "",
    layout: TableLayout = TableLayout.CHAIN_PER_STICKY_ENDPOINT,
) -> ExpectedTable:
    """Return the expected objects of a Service; the node's name selects its zone and its local endpoints."""
    elements: list[ExpectedElement] = []
    services: dict[str, tuple[ExpectedRule[NftRule], ...]] = {}
    endpoints: dict[str, tuple[ExpectedRule[NftRule], ...]] = {}
    sets: dict[str, ExpectedSet] = {}
    builders = [_TableBuilder(service, port, proxy, layout) for port in (service.ports if service.cluster_ips else ())]
    for builder in builders:
        usable = usable_endpoints(
            service, builder.port, node, proxy.zones.get(node, ""), with_node_hints=proxy.follows_node_hints
        )
        by_chain = {builder.chain(CLUSTER_CHAIN): usable.cluster, builder.chain(LOCAL_CHAIN): usable.local}
        internal = builder.chain(LOCAL_CHAIN if service.internal_policy == "Local" else CLUSTER_CHAIN)
        elements += builder.entries(internal, reached=bool(by_chain[internal]))
        elements += builder.external_entries(reached=bool(by_chain[builder.external_policy_chain]))
        elements += builder.hairpins(node, {*usable.cluster, *usable.local})
        if builder.uses_firewall:
            services[builder.chain(FIREWALL_CHAIN)] = (builder.firewall_rule(node),)
        if service.is_external(builder.port) and builder.port.endpoints:
            rules = tuple(builder.external_rules(reached=bool(by_chain[builder.external_policy_chain])))
            services[builder.chain(EXTERNAL_CHAIN)] = rules
        for chain, balanced in by_chain.items():
            if balanced:
                services[chain] = tuple(builder.service_rules(chain, balanced, is_internal=chain == internal))
                for endpoint in balanced if builder.has_endpoint_chains else ():
                    endpoints[builder.endpoint_chain(endpoint)] = builder.endpoint_rules(endpoint)
                for endpoint in balanced if service.has_affinity else ():
                    sets[builder.affinity_set(endpoint)] = builder.expected_set(endpoint)
    knows_node = proxy.node_address(node, service.family) is not None
    return ExpectedTable(
        tuple(elements),
        MappingProxyType({**services, **endpoints}),
        MappingProxyType(sets),
        frozenset(Clause("match", f"{builder.protocol} dport", str(builder.port.port)) for builder in builders),
        () if knows_node else service.balancer_ips,
    )


@dataclass(frozen=True)
class SharedNftRules:
    """The rules that every Service needs.

    ``chains`` have these rules and no others, but for rules that look up node ports and for one that depends on the
    ServiceCIDRs. ``jumps`` are in base chains, found by their hook: versions name base chains differently.
    """

    chains: Mapping[str, tuple[ExpectedRule[NftRule], ...]]
    jumps: tuple[tuple[Hook, ExpectedRule[NftRule]], ...]


def shared_rules(family: Family, proxy: ProxyConfig, layout: TableLayout) -> SharedNftRules:
    """Return the rules that every Service needs (pkg/proxy/nftables/proxier.go, setupNFTables).

    The rule that drops traffic to unallocated cluster IPs is not among them: it needs the ServiceCIDRs. Those that look
    up node ports are apart (``nftables.node_ports``): only Services with node ports need them.
    """
    ip = "ip6" if family == "IPv6" else "ip"
    mark = 1 << proxy.masquerade_bit
    pods = proxy.local_traffic(family)
    by_address = f"{ip} daddr . meta l4proto . th dport"
    set_mark = Clause("set", "meta mark", f"meta mark | {mark}")
    clear_mark = Clause("set", "meta mark", f"meta mark ^ {mark}")
    masquerade = Clause("masquerade", operand="fully-random")
    cluster_ip = Clause("match", f"{ip} daddr", f"@{CLUSTER_IPS}")
    services: list[tuple[RuleKind, str, tuple[Clause, ...]]] = [
        (RuleKind.ENTRY, "all cluster IPs", (Clause("vmap", by_address, f"@{SERVICE_IPS}"),))
    ]
    chains = {SERVICES_CHAIN: services}
    if layout is TableLayout.CHAIN_PER_STICKY_ENDPOINT:
        if proxy.masquerade_all:
            services.insert(0, (RuleKind.MASQUERADE, "all traffic", (cluster_ip, set_mark)))
        elif pods:
            clauses = (cluster_ip, matching(pods, family, "!= "), set_mark)
            services.insert(0, (RuleKind.MASQUERADE, "traffic from outside the cluster", clauses))
        hairpin = f"{ip} saddr . {ip} daddr . meta l4proto . th dport"
        marked = Clause("match", f"meta mark & {mark}", "!= 0")
        chains[MASQUERADING_CHAIN] = [
            (RuleKind.MASQUERADE, "marked traffic", (marked, clear_mark, masquerade)),
            (
                RuleKind.MASQUERADE,
                "connections of an endpoint to itself",
                (Clause("match", "ct status", "dnat"), Clause("match", hairpin, f"@{HAIRPINS}"), masquerade),
            ),
        ]
    else:
        unmarked = Clause("match", f"meta mark & {mark}", "0")
        chains[MARK_CHAIN] = [(RuleKind.MASQUERADE, "traffic to be masqueraded", (set_mark,))]
        chains[MASQUERADING_CHAIN] = [
            (RuleKind.MASQUERADE, "traffic without the mark", (unmarked, Clause("return"))),
            (RuleKind.MASQUERADE, "marked traffic", (clear_mark,)),
            (RuleKind.MASQUERADE, "marked traffic", (masquerade,)),
        ]
    refusal = Clause("reject", operand="port-unreachable")
    chains[ENDPOINTS_CHECK_CHAIN] = [
        (RuleKind.REFUSE, "Services without endpoints", (Clause("vmap", by_address, f"@{NO_ENDPOINTS}"),))
    ]
    chains[FIREWALL_CHECK_CHAIN] = [
        (RuleKind.FIREWALL, "load balancers with source ranges", (Clause("vmap", by_address, f"@{FIREWALL_IPS}"),))
    ]
    chains[REJECT_CHAIN] = [(RuleKind.REFUSE, "Services without endpoints", (refusal,))]
    chains[CLUSTER_IPS_CHECK_CHAIN] = [(RuleKind.REFUSE, "other ports of cluster IPs", (cluster_ip, refusal))]
    return SharedNftRules(
        {
            chain: tuple(
                ExpectedRule(kind, NftRule(chain, number, clauses), about)
                for number, (kind, about, clauses) in enumerate(rules, 1)
            )
            for chain, rules in chains.items()
        },
        tuple(_jumps()),
    )


_JUMPS: Final = (
    ("filter", "input", True, NODE_PORTS_CHECK_CHAIN, RuleKind.REFUSE),
    ("filter", "input", True, ENDPOINTS_CHECK_CHAIN, RuleKind.REFUSE),
    ("filter", "forward", True, ENDPOINTS_CHECK_CHAIN, RuleKind.REFUSE),
    ("filter", "output", True, ENDPOINTS_CHECK_CHAIN, RuleKind.REFUSE),
    ("filter", "prerouting", True, FIREWALL_CHECK_CHAIN, RuleKind.FIREWALL),
    ("filter", "output", True, FIREWALL_CHECK_CHAIN, RuleKind.FIREWALL),
    ("nat", "output", False, SERVICES_CHAIN, RuleKind.ENTRY),
    ("nat", "prerouting", False, SERVICES_CHAIN, RuleKind.ENTRY),
    ("nat", "postrouting", False, MASQUERADING_CHAIN, RuleKind.MASQUERADE),
    ("filter", "forward", True, CLUSTER_IPS_CHECK_CHAIN, RuleKind.REFUSE),
    ("filter", "output", True, CLUSTER_IPS_CHECK_CHAIN, RuleKind.REFUSE),
)
"""Kind and point of a hook, whether only new connections go there, the chain, and its purpose."""


def _jumps() -> Iterator[tuple[Hook, ExpectedRule[NftRule]]]:
    for kind, point, only_new, chain, purpose in _JUMPS:
        new = (Clause("match", "ct state", "new"),) if only_new else ()
        rule = NftRule(f"{kind}-{point}", 1, (*new, Clause("jump", operand=chain)))
        yield Hook(kind, point), ExpectedRule(purpose, rule, f"the jump to {chain}")


@dataclass(frozen=True)
class _TableBuilder:
    """Builds the objects of one port from the same clauses that parsing yields."""

    service: ServiceState
    port: ServicePort
    proxy: ProxyConfig
    layout: TableLayout

    @property
    def protocol(self) -> str:
        return self.port.protocol.lower()

    @property
    def has_endpoint_chains(self) -> bool:
        return self.service.has_affinity or self.layout is TableLayout.CHAIN_PER_ENDPOINT

    def chain(self, prefix: str) -> str:
        return chain_names.nftables_service_chain(*self._port, prefix)

    def endpoint_chain(self, endpoint: Endpoint) -> str:
        return chain_names.nftables_endpoint_chain(*self._port, endpoint.at)

    def affinity_set(self, endpoint: Endpoint) -> str:
        return chain_names.nftables_affinity_set(*self._port, endpoint.at)

    def expected_set(self, endpoint: Endpoint) -> ExpectedSet:
        kind = "ipv6_addr" if self.service.family == "IPv6" else "ipv4_addr"
        return ExpectedSet(self.affinity_set(endpoint), kind, self.service.timeout_seconds, endpoint)

    def entries(self, chain: str, *, reached: bool) -> Iterator[ExpectedElement]:
        """Yield the elements from cluster IP and port to the chain, or to a refusal when no endpoint is usable."""
        where, verdict = (SERVICE_IPS, f"goto {chain}") if reached else (NO_ENDPOINTS, self._refusal)
        for address in map(canonical, self.service.cluster_ips):
            key = (address, self.protocol, str(self.port.port))
            yield ExpectedElement(CLUSTER_IPS, (address,), "", RuleKind.ENTRY, self._about)
            yield ExpectedElement(where, key, verdict, RuleKind.ENTRY, self._about)

    @property
    def uses_firewall(self) -> bool:
        """Whether source ranges of a load balancer need a chain; it exists without endpoints too."""
        return bool(self.service.source_ranges and self.service.balancer_ips)

    def firewall_rule(self, node: str) -> ExpectedRule[NftRule]:
        """Return the rule of the firewall chain: what is not from the source ranges is dropped.

        Where a range contains the node's own address, the load balancer's addresses are let in as well: the node's own
        connections to it come back with that source.
        """
        ranges = self.service.source_ranges
        allows_node = includes(ranges, self.proxy.node_address(node, self.service.family))
        sources = (*ranges, *(self.service.balancer_ips if allows_node else ()))
        match = Clause("match", self._ip("saddr"), f"!= {{ {', '.join(map(canonical, sources))} }}")
        return self._rule(
            RuleKind.FIREWALL, self.chain(FIREWALL_CHAIN), match, Clause("drop"), about="sources outside the ranges"
        )

    @property
    def external_policy_chain(self) -> str:
        return self.chain(LOCAL_CHAIN if self.service.external_policy == "Local" else CLUSTER_CHAIN)

    def external_entries(self, *, reached: bool) -> Iterator[ExpectedElement]:
        """Yield the elements from external addresses and the node port to the external chain.

        They exist while any node has an endpoint, because traffic from pods and from the node goes to all endpoints;
        other traffic is refused on a node without a usable endpoint under the Service's policy.
        """
        addresses = tuple(map(canonical, (*self._external_ips, *self.service.balancer_ips)))
        paths: list[tuple[str, str, Key, str]] = [
            (SERVICE_IPS, NO_ENDPOINTS, (address, self.protocol, str(self.port.port)), self._about)
            for address in addresses
        ]
        if self.port.node_port:
            node_port = (self.protocol, str(self.port.node_port))
            about = f"node port {self.port.node_port}"
            paths.append((SERVICE_NODE_PORTS, NO_ENDPOINT_NODE_PORTS, node_port, about))
        for accepting, refusing, key, about in paths:
            if self.port.endpoints:
                verdict = f"goto {self.chain(EXTERNAL_CHAIN)}"
                yield ExpectedElement(accepting, key, verdict, RuleKind.EXTERNAL, about)
            if not reached:
                yield ExpectedElement(refusing, key, self._refusal, RuleKind.EXTERNAL, about)
        for address in map(canonical, self.service.balancer_ips if self.service.source_ranges else ()):
            key = (address, self.protocol, str(self.port.port))
            verdict = f"goto {self.chain(FIREWALL_CHAIN)}"
            yield ExpectedElement(FIREWALL_IPS, key, verdict, RuleKind.EXTERNAL, self._about)

    def external_rules(self, *, reached: bool) -> Iterator[ExpectedRule[NftRule]]:
        """Yield the rules of the external chain: to all endpoints under Cluster, to local endpoints under Local.

        Traffic from pods and from the node itself goes to all endpoints under either policy.
        """
        chain = self.chain(EXTERNAL_CHAIN)
        mark = _jump_to_mark() if self.layout is TableLayout.CHAIN_PER_ENDPOINT else self._mark
        to_all = Clause("goto", operand=self.chain(CLUSTER_CHAIN))
        if self.service.external_policy != "Local":
            yield self._rule(RuleKind.MASQUERADE, chain, mark, about=self._about)
        else:
            if pods := self._pods:
                from_pods = matching(pods, self.service.family)
                yield self._rule(RuleKind.EXTERNAL, chain, from_pods, to_all, about=f"pods, {self._about}")
            from_node, about = Clause("match", "fib saddr type", "local"), f"the node, {self._about}"
            yield self._rule(RuleKind.MASQUERADE, chain, from_node, mark, about=about)
            yield self._rule(RuleKind.EXTERNAL, chain, from_node, to_all, about=about)
        if reached:
            onward = Clause("goto", operand=self.external_policy_chain)
            yield self._rule(RuleKind.EXTERNAL, chain, onward, about=self._about)

    def hairpins(self, node: str, reached: set[Endpoint]) -> Iterator[ExpectedElement]:
        """Yield the elements that masquerade a local endpoint's connections to itself through the Service."""
        if self.layout is TableLayout.CHAIN_PER_ENDPOINT:
            return
        for endpoint in sorted(reached, key=lambda endpoint: endpoint.at):
            if node and endpoint.node == node:
                address = canonical(endpoint.address)
                key = (address, address, self.protocol, str(endpoint.port))
                yield ExpectedElement(HAIRPINS, key, "", RuleKind.MASQUERADE, str(endpoint))

    def service_rules(
        self, chain: str, endpoints: tuple[Endpoint, ...], *, is_internal: bool
    ) -> Iterator[ExpectedRule[NftRule]]:
        masquerades = self.proxy.masquerade_all or self._pods
        if is_internal and self.layout is TableLayout.CHAIN_PER_ENDPOINT and masquerades:
            for address in map(canonical, self.service.cluster_ips):
                clauses = (Clause("match", self._ip("daddr"), address), *self._from_outside, _jump_to_mark())
                yield self._rule(RuleKind.MASQUERADE, chain, *clauses, about=self._about)
        for endpoint in endpoints if self.service.has_affinity else ():
            match = Clause("match", self._ip("saddr"), f"@{self.affinity_set(endpoint)}")
            goto = Clause("goto", operand=self.endpoint_chain(endpoint))
            yield self._rule(RuleKind.AFFINITY, chain, match, goto, about=str(endpoint), endpoint=endpoint)
        yield self._rule(RuleKind.BALANCE, chain, *self._balance(endpoints), about=f"{len(endpoints)} endpoints")

    def endpoint_rules(self, endpoint: Endpoint) -> tuple[ExpectedRule[NftRule], ...]:
        affinity_set = self.affinity_set(endpoint) if self.service.has_affinity else ""
        return _endpoint_rules(self.endpoint_chain(endpoint), affinity_set, self.protocol, self.layout, endpoint)

    def _balance(self, endpoints: tuple[Endpoint, ...]) -> tuple[Clause, ...]:
        if self.has_endpoint_chains:
            places = tuple(f"goto {self.endpoint_chain(endpoint)}" for endpoint in endpoints)
            return (Clause("vmap", numgen(len(places)), branches=numbered(places)),)
        places = tuple(endpoint.at for endpoint in endpoints)
        return (self._of_protocol, Clause("dnat", numgen(len(places)), branches=numbered(places)))

    @property
    def _port(self) -> tuple[str, str, str, str]:
        return self.service.namespace, self.service.name, self.port.name, self.port.protocol

    @property
    def _external_ips(self) -> tuple[str, ...]:
        return self.service.external_ips if self.proxy.allows_external_ips else ()

    @property
    def _about(self) -> str:
        return f"port {self.port.port}/{self.port.protocol}"

    @property
    def _refusal(self) -> str:
        """The verdict when no endpoint is usable on the node: drop while another node has one, else reject."""
        return DROP if self.port.endpoints else REJECT

    @property
    def _of_protocol(self) -> Clause:
        return Clause("match", "meta l4proto", self.protocol)

    @property
    def _from_outside(self) -> tuple[Clause, ...]:
        """The match on traffic that is not of pods; none where kube-proxy masquerades all traffic."""
        if self.proxy.masquerade_all or self._pods is None:
            return ()
        return (matching(self._pods, self.service.family, "!= "),)

    @property
    def _pods(self) -> LocalTraffic | None:
        """What the traffic of pods has in common, in the Service's IP family; None when kube-proxy does not know it."""
        return self.proxy.local_traffic(self.service.family)

    @property
    def _mark(self) -> Clause:
        return Clause("set", "meta mark", f"meta mark | {1 << self.proxy.masquerade_bit}")

    def _ip(self, part: str) -> str:
        return f"{'ip6' if self.service.family == 'IPv6' else 'ip'} {part}"

    def _rule(
        self, kind: RuleKind, chain: str, *clauses: Clause, about: str, endpoint: Endpoint | None = None
    ) -> ExpectedRule[NftRule]:
        return ExpectedRule(kind, NftRule(chain, 1, clauses), about, endpoint)


# Cached: they are the same on all nodes.
@lru_cache(maxsize=1 << 15)
def _endpoint_rules(
    chain: str, affinity_set: str, protocol: str, layout: TableLayout, endpoint: Endpoint
) -> tuple[ExpectedRule[NftRule], ...]:
    """Return the rules of an endpoint chain; ``affinity_set`` is empty without session affinity."""
    source = f"{'ip6' if ':' in endpoint.address else 'ip'} saddr"
    rules: list[tuple[RuleKind, tuple[Clause, ...]]] = []
    if layout is TableLayout.CHAIN_PER_ENDPOINT:
        from_itself = Clause("match", source, canonical(endpoint.address))
        rules.append((RuleKind.MASQUERADE, (from_itself, _jump_to_mark())))
    if affinity_set:
        rules.append((RuleKind.UPDATE, (Clause("update", source, f"@{affinity_set}"),)))
    dnat = (Clause("match", "meta l4proto", protocol), Clause("dnat", operand=endpoint.at))
    rules.append((RuleKind.TRANSLATE, dnat))
    return tuple(ExpectedRule(kind, NftRule(chain, 1, clauses), str(endpoint), endpoint) for kind, clauses in rules)


def matching(pods: LocalTraffic, family: Family, negation: str = "") -> Clause:
    """Return the match on the traffic of pods, or on all other traffic with ``!= `` for ``negation``."""
    if pods.pod_range:
        return Clause("match", f"{'ip6' if family == 'IPv6' else 'ip'} saddr", f"{negation}{canonical(pods.pod_range)}")
    return Clause("match", "meta iifname", f"{negation}{pods.interface}{'*' if pods.is_prefix else ''}")


def _jump_to_mark() -> Clause:
    return Clause("jump", operand=MARK_CHAIN)


def numgen(number: int) -> str:
    """Return the expression that draws an even random number below ``number``."""
    return f"numgen random mod {number}"


def numbered(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the branches of a map, numbered from 0."""
    return tuple((str(number), place) for number, place in enumerate(places))
