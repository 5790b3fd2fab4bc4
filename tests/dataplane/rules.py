"""The nftables objects of a Service: what leads to it, its chains, and the sets with its clients.

One table of each IP family has all Services. Two maps lead from an address, protocol and port to a chain: ``services``
for cluster IPs and external addresses, and ``nodeports``. ``renewals`` leads there from the mark of a connection that
is translated already. The set ``refused`` has the addresses behind which there is no endpoint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.topology import usable_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from session_affinity.dataplane.model import Endpoint, Family, ServicePort, ServiceState
    from session_affinity.dataplane.topology import UsableEndpoints

TABLE: Final = "session-affinity-example"
GRANULARITY_SECONDS: Final = 5
"""Affinity timeouts are multiples of this."""
_MASQUERADE: Final = "0x40"
_MARK: Final = f"meta mark set meta mark or {_MASQUERADE}"
NFT_FAMILY: Final[dict[Family, str]] = {"IPv4": "ip", "IPv6": "ip6"}
_ADDRESS: Final[dict[Family, str]] = {"IPv4": "ipv4_addr", "IPv6": "ipv6_addr"}


@dataclass(frozen=True)
class Node:
    """The node that rules are for; ``pod_ranges`` are the ranges of all pods by IP family."""

    name: str
    zone: str
    pod_ranges: dict[Family, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """The objects of one Service in one IP family.

    ``sets`` are the timeouts in seconds of the sets of clients by name, ``chains`` the rules by chain. ``elements`` are
    the elements of maps and sets, each as the name of the map, the key, and the verdict, which is empty in a set.
    """

    sets: dict[str, int] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: frozenset[tuple[str, str, str]] = frozenset()


def base(family: Family) -> str:
    """Return the table without Services; what is there already stays, except the rules of its own chains."""
    nft, address = NFT_FAMILY[family], _ADDRESS[family]
    table = f"{nft} {TABLE}"
    key = f"{nft} daddr . meta l4proto . th dport"
    chains = {
        "services": ("", [f"{key} vmap @services", "fib daddr type local meta l4proto . th dport vmap @nodeports"]),
        "renew": ("", ["ct direction original ct mark vmap @renewals"]),
        "refuse": ("", [f"ct state new {key} @refused goto refuse-it"]),
        "refuse-it": ("", ["meta l4proto tcp reject with tcp reset", "reject"]),
        "nat-prerouting": ("type nat hook prerouting priority -100;", ["jump services"]),
        "nat-output": ("type nat hook output priority -100;", ["jump services"]),
        "nat-postrouting": (
            "type nat hook postrouting priority 100;",
            [f"meta mark and {_MASQUERADE} == {_MASQUERADE} masquerade"],
        ),
        "filter-prerouting": ("type filter hook prerouting priority 0;", ["jump renew"]),
        "filter-output": ("type filter hook output priority 0;", ["jump renew", "jump refuse"]),
        "filter-forward": ("type filter hook forward priority 0;", ["jump refuse"]),
    }
    lines = [
        f"add table {table}",
        f"add map {table} services {{ type {address} . inet_proto . inet_service : verdict; }}",
        f"add map {table} nodeports {{ type inet_proto . inet_service : verdict; }}",
        f"add map {table} renewals {{ type mark : verdict; }}",
        f"add set {table} refused {{ type {address} . inet_proto . inet_service; }}",
        *(f"flush map {table} {name}" for name in ("services", "nodeports", "renewals")),
        f"flush set {table} refused",
        *(f"add chain {table} {name}{f' {{ {hook} }}' if hook else ''}" for name, (hook, _) in chains.items()),
        *(f"flush chain {table} {name}" for name in chains),
        *(f"add rule {table} {name} {rule}" for name, (_, rules) in chains.items() for rule in rules),
    ]
    return _text(lines)


def program(service: ServiceState, node: Node) -> Program:
    """Return the objects of a Service on a node; none for a Service without cluster IP."""
    result = Program()
    for port in service.ports if service.cluster_ips and service.family in node.pod_ranges else ():
        used = replace(port if port.has_ready_endpoints else port.without_endpoints(), serving_terminating=())
        part = _Port(service, used, node).program()
        result = Program(result.sets | part.sets, result.chains | part.chains, result.elements | part.elements)
    return result


@dataclass(frozen=True)
class _Port:
    """One port of a Service on a node."""

    service: ServiceState
    port: ServicePort
    node: Node

    def program(self) -> Program:
        usable = usable_endpoints(self.service, self.port, self.node.name, self.node.zone)
        internal = usable.local if self.service.internal_policy == "Local" else usable.cluster
        external = self._external(usable)
        chains = {
            **(self._balanced("all", usable.cluster) if usable.cluster else {}),
            **(self._balanced("local", usable.local) if usable.local else {}),
        }
        endpoints = tuple(dict.fromkeys((*usable.cluster, *usable.local)))
        chains |= {self._endpoint(endpoint): self._translation(endpoint) for endpoint in endpoints}
        elements: set[tuple[str, str, str]] = set()
        if internal:
            target = "local" if self.service.internal_policy == "Local" else "all"
            chains[self._name("in")] = (
                f"{self._nft} saddr != {self.node.pod_ranges[self.service.family]} {_MARK}",
                f"goto {self._name(target)}",
            )
        if external:
            chains[self._name("out")] = external
        for address in self.service.cluster_ips:
            elements.add(self._element("services" if internal else "refused", address, "in"))
        for address in (*self.service.external_ips, *self.service.balancer_ips):
            if external:
                elements.add(self._element("services", address, "out"))
            if not (usable.local if self.service.external_policy == "Local" else usable.cluster):
                elements.add(self._element("refused", address, ""))
        if external and self.port.node_port:
            key = f"{self.port.protocol.lower()} . {self.port.node_port}"
            elements.add(("nodeports", key, f"goto {self._name('out')}"))
        if self.service.has_affinity and endpoints:
            chains[self._name("renewal")] = tuple(
                f"{self._nft} daddr {endpoint.address} th dport {endpoint.port} {self._update(endpoint)}"
                for endpoint in endpoints
            )
            elements.add(("renewals", self._number, f"goto {self._name('renewal')}"))
        return Program(
            {self._clients(endpoint): self._timeout for endpoint in endpoints if self.service.has_affinity},
            chains,
            frozenset(elements),
        )

    @property
    def _nft(self) -> str:
        return NFT_FAMILY[self.service.family]

    @property
    def _timeout(self) -> int:
        """The affinity timeout in seconds, rounded up."""
        return -(-(self.service.timeout_seconds or 0) // GRANULARITY_SECONDS) * GRANULARITY_SECONDS

    def _name(self, part: str) -> str:
        return f"{part}-{_digest(self.service.port_name(self.port), self.port.protocol)}"

    @property
    def _number(self) -> str:
        """The mark of the port's connections."""
        return f"0x{_digest(self._name('number'))[:8]}"

    def _endpoint(self, endpoint: Endpoint) -> str:
        return f"{self._name('endpoint')}-{_digest(endpoint.at)}"

    def _clients(self, endpoint: Endpoint) -> str:
        """Return the set with the clients of an endpoint; a changed timeout has a set of its own."""
        return f"{self._name('clients')}-{_digest(endpoint.at, str(self._timeout))}"

    def _update(self, endpoint: Endpoint) -> str:
        return f"update @{self._clients(endpoint)} {{ {self._nft} saddr }}"

    def _element(self, name: str, address: str, part: str) -> tuple[str, str, str]:
        key = f"{address} . {self.port.protocol.lower()} . {self.port.port}"
        return name, key, f"goto {self._name(part)}" if part and name != "refused" else ""

    def _external(self, usable: UsableEndpoints) -> tuple[str, ...]:
        """Return the rules for node ports and external addresses; none when nothing may answer there.

        Under the policy Local, what comes from a pod or from the node is the cluster's own, and may use all endpoints.
        """
        if not self.service.is_external(self.port) or not (usable.cluster or usable.local):
            return ()
        if self.service.external_policy != "Local":
            return (_MARK, f"goto {self._name('all')}")
        own = (
            f"{self._nft} saddr {self.node.pod_ranges[self.service.family]} goto {self._name('all')}",
            f"fib saddr type local {_MARK} goto {self._name('all')}",
        )
        return (*(own if usable.cluster else ()), *((f"goto {self._name('local')}",) if usable.local else ()))

    def _balanced(self, name: str, endpoints: Sequence[Endpoint]) -> dict[str, tuple[str, ...]]:
        """Return the chain that takes a client to its endpoint, or to one at random."""
        bound = [
            f"{self._nft} saddr @{self._clients(endpoint)} goto {self._endpoint(endpoint)}"
            for endpoint in endpoints
            if self.service.has_affinity
        ]
        targets = ", ".join(f"{number} : goto {self._endpoint(each)}" for number, each in enumerate(endpoints))
        return {self._name(name): (*bound, f"numgen random mod {len(endpoints)} vmap {{ {targets} }}")}

    def _translation(self, endpoint: Endpoint) -> tuple[str, ...]:
        affinity = f"{self._update(endpoint)} ct mark set {self._number} " if self.service.has_affinity else ""
        return (
            f"{self._nft} saddr {endpoint.address} {_MARK}",  # a pod that reaches itself
            f"meta l4proto {self.port.protocol.lower()} {affinity}dnat to {endpoint.at}",
        )


def transaction(family: Family, old: Iterable[Program], new: Iterable[Program]) -> str:
    """Return the commands that replace some Services' objects by others; sets that stay keep their clients."""
    before, after = _merged(old), _merged(new)
    table = f"{NFT_FAMILY[family]} {TABLE}"
    changed = {name: rules for name, rules in after.chains.items() if before.chains.get(name) != rules}
    stale = before.chains.keys() - after.chains.keys()
    lines = [
        *(f"delete element {table} {name} {{ {key} }}" for name, key, _ in sorted(before.elements - after.elements)),
        *(
            f"add set {table} {name} {{ type {_ADDRESS[family]}; flags dynamic,timeout; timeout {seconds}s; }}"
            for name, seconds in after.sets.items()
            if name not in before.sets
        ),
        *(f"add chain {table} {name}" for name in changed),
        *(f"flush chain {table} {name}" for name in (*changed, *stale)),
        *(f"add rule {table} {name} {rule}" for name, rules in changed.items() for rule in rules),
        *(
            f"add element {table} {name} {{ {key}{f' : {verdict}' if verdict else ''} }}"
            for name, key, verdict in sorted(after.elements - before.elements)
        ),
        *(f"delete chain {table} {name}" for name in stale),
        *(f"delete set {table} {name}" for name in before.sets.keys() - after.sets.keys()),
    ]
    return _text(lines)


def _merged(programs: Iterable[Program]) -> Program:
    sets: dict[str, int] = {}
    chains: dict[str, tuple[str, ...]] = {}
    elements: set[tuple[str, str, str]] = set()
    for each in programs:
        sets |= each.sets
        chains |= each.chains
        elements |= each.elements
    return Program(sets, chains, frozenset(elements))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
