"""A Service as kube-proxy programs it: one IP family, ready endpoints, in kube-proxy's order."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Family = Literal["IPv4", "IPv6"]
FAMILIES: Final[tuple[Family, ...]] = ("IPv4", "IPv6")

CLIENT_IP = "ClientIP"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"

NEWEST_RELEASE: Final = (1, 37)
"""The newest release of kube-proxy whose source was read for this module."""


def host_port(address: str, port: int) -> str:
    """Return ``address:port``, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def canonical_address(address: str) -> str:
    """Return an address as Go's ``net.IP.String`` writes it; kube-proxy parses every address and writes it again.

    Leading zeros of an IPv4 address are decimal, and an IPv4 address in IPv6 notation is an IPv4 address (ParseIPSloppy
    in k8s.io/utils/net). Raises ValueError when it is not an IP address.
    """
    if ":" not in address:
        address = ".".join(part.lstrip("0") or "0" if part.isdigit() else part for part in address.split("."))
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def canonical_range(cidr: str) -> str:
    """Return a range with the bits of hosts cleared, as Go's ``net.IPNet.String`` writes it; ValueError for others."""
    address, slash, length = cidr.strip().partition("/")
    if not slash:
        raise ValueError(f"{cidr!r} is not a range in CIDR notation")
    return str(ipaddress.ip_network(f"{canonical_address(address)}/{length}", strict=False))


def family_of(address: str) -> Family:
    """Return the IP family of an address; raises ValueError when it is not an IP address."""
    return "IPv4" if ipaddress.ip_address(address).version == 4 else "IPv6"


def family_of_range(cidr: str) -> Family:
    """Return the IP family of a range in CIDR notation; raises ValueError when it is not one."""
    return family_of(cidr.partition("/")[0])


@dataclass(frozen=True)
class Endpoint:
    """A ready endpoint of one port of a Service.

    ``pod`` and ``node`` are empty when the EndpointSlice has no targetRef or nodeName. ``for_zones`` and ``for_nodes``
    are its hints: the zones and nodes whose clients should use it.
    """

    address: str
    port: int
    pod: str = ""
    node: str = ""
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()

    # Cached, as the text is: every comparison of every node needs them several times.
    @cached_property
    def at(self) -> str:
        """``ip:port`` as kube-proxy writes it: the DNAT target; chain names and endpoint order derive from it."""
        return host_port(self.address, self.port)

    @cached_property
    def _text(self) -> str:
        where = " on ".join(part for part in (f"pod {self.pod}" if self.pod else "", self.node) if part)
        return f"{self.at} ({where})" if where else self.at

    def __str__(self) -> str:
        return self._text


@dataclass(frozen=True)
class EndpointEntry:
    """One entry of an ``ip:port`` in EndpointSlices, with what its conditions amount to.

    ``slice_number`` is the place of its slice among those of the Service. ``is_draining`` is serving and terminating.
    """

    slice_number: int
    endpoint: Endpoint
    is_ready: bool
    is_draining: bool
    is_terminating: bool


@dataclass(frozen=True)
class Twin:
    """The entries of one ``ip:port`` that EndpointSlices list more than once, and not alike.

    kube-proxy keeps one of them: the first, or the last that is not terminating. Until 1.35 it is the first, or the
    last on its own node, which ``prefers_local`` says (pkg/proxy/endpointslicecache.go, addEndpoints).
    """

    entries: tuple[EndpointEntry, ...]
    prefers_local: bool = False

    def entry(self, order: Sequence[int], node: str = "") -> EndpointEntry:
        """Return the entry that the kube-proxy of a node keeps when it goes through the slices in this order."""
        by_slice = sorted(self.entries, key=lambda entry: order.index(entry.slice_number))
        replaces = [
            entry
            for entry in by_slice
            if (bool(node) and entry.endpoint.node == node if self.prefers_local else not entry.is_terminating)
        ]
        return replaces[-1] if replaces else by_slice[0]

    @property
    def slices(self) -> frozenset[int]:
        """The numbers of the slices that list it."""
        return frozenset(entry.slice_number for entry in self.entries)

    @property
    def at(self) -> str:
        """The ``ip:port``."""
        return self.entries[0].endpoint.at


@dataclass(frozen=True)
class ServicePort:
    """A port of a Service with its endpoints; ``protocol`` is TCP, UDP or SCTP, ``name`` is empty when unnamed.

    ``node_port`` is 0 when the port has none. ``serving_terminating`` are the endpoints that are terminating and still
    serving; while no endpoint is ready, ``endpoints`` has them too. ``twins`` are the endpoints that are listed more
    than once and not alike, as the given order of the slices decides them in the other fields. ``entry_count`` is the
    number of distinct ``ip:port``, ready or not.
    """

    name: str
    protocol: str
    port: int
    endpoints: tuple[Endpoint, ...] = ()
    node_port: int = 0
    serving_terminating: tuple[Endpoint, ...] = ()
    twins: tuple[Twin, ...] = ()
    entry_count: int = 0

    @property
    def has_ready_endpoints(self) -> bool:
        """Whether ``endpoints`` are ready, and not the terminating ones that replace them."""
        return bool(self.endpoints) and self.endpoints[0] not in self.serving_terminating

    def without_endpoints(self) -> ServicePort:
        """Return the port as it is when nothing backs it."""
        return replace(self, endpoints=(), serving_terminating=(), twins=(), entry_count=0)

    def in_order(self, order: Sequence[int], node: str = "") -> ServicePort:
        """Return the port with the endpoints that a node's kube-proxy has when it reads the slices in this order."""
        listed = {twin.at for twin in self.twins}
        kept = [twin.entry(order, node) for twin in self.twins]
        ready = self.endpoints if self.has_ready_endpoints else ()
        return replace(
            self,
            **_used(
                (*(e for e in ready if e.at not in listed), *(k.endpoint for k in kept if k.is_ready)),
                (
                    *(e for e in self.serving_terminating if e.at not in listed),
                    *(k.endpoint for k in kept if k.is_draining and not k.is_ready),
                ),
            ),
        )

    def __str__(self) -> str:
        name = f"{self.name} " if self.name else ""
        return f"{name}{self.port}/{self.protocol}" + (f" at node port {self.node_port}" if self.node_port else "")


_MOST_ORDERS: Final = 120
"""How many orders of slices are tried: all of five slices that disagree about endpoints."""


@dataclass(frozen=True)
class ServiceState:
    """The fields of one Service and its endpoints that decide a node's rules in one IP family.

    Addresses of the other family are left out. ``cluster_ips`` is empty for a Service that kube-proxy does not proxy:
    headless, ExternalName, or of another proxy. ``timeout_seconds`` is None without session affinity.
    ``external_policy`` is empty for a Service that cannot be reached from outside the cluster. ``external_ips`` is
    spec.externalIPs. ``balancer_ips`` are the load balancer addresses that nodes handle themselves (ipMode VIP); if
    there are ``source_ranges``, only clients in these ranges may use them. ``health_check_node_port`` is 0 when nodes
    do not answer the load balancer's health checks.
    """

    namespace: str
    name: str
    cluster_ips: tuple[str, ...]
    session_affinity: str
    timeout_seconds: int | None
    ports: tuple[ServicePort, ...]
    family: Family = "IPv4"
    internal_policy: str = "Cluster"
    external_policy: str = ""
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0

    @classmethod
    def from_objects(
        cls,
        service: Mapping[str, Any],
        slices: Sequence[Mapping[str, Any]],
        *,
        family: Family = "IPv4",
        release: tuple[int, int] = NEWEST_RELEASE,
    ) -> ServiceState:
        """Build the state from a Service and EndpointSlices as the API's JSON; slices of other Services are ignored.

        A slice belongs to a port when name and protocol are equal, an endpoint is represented by its first address, and
        endpoints are sorted by their ``ip:port`` strings (pkg/proxy/endpointslicecache.go). Of an ``ip:port`` that is
        listed more than once one entry counts (``Twin``). An endpoint is used when its ``ready`` condition is true or
        absent; while there is none, the terminating endpoints that still serve are used, and ``serving`` counts as true
        when it is absent (pkg/proxy/topology.go, CategorizeEndpoints; addEndpoints).

        kube-proxy does not watch slices labelled headless; the state of a Service without cluster IP has their
        endpoints nevertheless, as no rule depends on them.

        ``release`` is kube-proxy's. Until 1.33 a source range of length 0 is a range like others; until 1.35 kube-proxy
        watches neither Services labelled headless nor slices labelled for another proxy (cmd/kube-proxy/app/server.go).
        Whether it follows hints for nodes is a matter of its settings (``ProxyConfig.follows_node_hints``).
        """
        meta, spec = service["metadata"], service["spec"]
        balancer = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        affinity = spec.get("sessionAffinity") or "None"
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        cluster_ips = _of_family(family, _cluster_ips(service, release))
        ignored = {HEADLESS_LABEL} if release >= (1, 36) else {HEADLESS_LABEL, PROXY_NAME_LABEL}
        service_slices = [
            endpoint_slice
            for endpoint_slice in slices
            if endpoint_slice.get("addressType", family) == family
            and _belongs(endpoint_slice, meta["namespace"], meta["name"])
            and not (cluster_ips and ignored & _labels(endpoint_slice).keys())
        ]
        balancer_ips = [ingress.get("ip") for ingress in balancer if (ingress.get("ipMode") or "VIP") == "VIP"]
        external_policy = (spec.get("externalTrafficPolicy") or "Cluster") if _reachable_from_outside(spec) else ""
        has_health_check = spec.get("type") == "LoadBalancer" and external_policy == "Local"
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            cluster_ips=cluster_ips,
            session_affinity=affinity,
            timeout_seconds=client_ip.get("timeoutSeconds") if affinity == CLIENT_IP else None,
            ports=tuple(_service_port(port, service_slices, release) for port in spec.get("ports") or ()),
            family=family,
            internal_policy=spec.get("internalTrafficPolicy") or "Cluster",
            external_policy=external_policy,
            external_ips=_of_family(family, spec.get("externalIPs") or ()),
            balancer_ips=_of_family(family, balancer_ips),
            source_ranges=_source_ranges(family, spec.get("loadBalancerSourceRanges") or (), release),
            health_check_node_port=int(spec.get("healthCheckNodePort") or 0) if has_health_check else 0,
        )

    def by_port(self) -> tuple[ServiceState, ...]:
        """Return a state for each port, with this port alone."""
        return tuple(replace(self, ports=(port,)) for port in self.ports)

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def has_affinity(self) -> bool:
        """Whether sessionAffinity is ClientIP."""
        return self.session_affinity == CLIENT_IP

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of all ports."""
        return tuple(endpoint for port in self.ports for endpoint in port.endpoints)

    def is_external(self, port: ServicePort) -> bool:
        """Whether a port can be reached from outside the cluster (pkg/proxy/serviceport.go, ExternallyAccessible).

        That is a matter of its addresses: a LoadBalancer without node ports and without an address is not external.
        """
        return bool(port.node_port or self.external_ips or self.balancer_ips)

    def uses_cluster_endpoints(self, port: ServicePort) -> bool:
        """Whether nodes use the endpoints of all nodes for a port (pkg/proxy/serviceport.go, UsesClusterEndpoints)."""
        return self.internal_policy != "Local" or self.is_external(port)

    def uses_local_endpoints(self, port: ServicePort) -> bool:
        """Whether nodes use their local endpoints separately (pkg/proxy/serviceport.go, UsesLocalEndpoints)."""
        return self.internal_policy == "Local" or (self.external_policy == "Local" and self.is_external(port))

    @property
    def undefined_endpoints(self) -> tuple[str, ...]:
        """The ``ip:port`` whose use the order of the slices decides, which kube-proxy draws anew at every update.

        They are listed in several slices with conditions, nodes or hints that differ (kubernetes/kubernetes#121556).
        """
        return tuple(dict.fromkeys(twin.at for port in self.ports for twin in port.twins if len(_outcomes(twin)) > 1))

    @property
    def twins(self) -> tuple[Twin, ...]:
        """What slices say of the endpoints that they disagree about, on all ports."""
        return tuple(twin for port in self.ports for twin in port.twins)

    def alternatives(self, node: str) -> Iterator[ServiceState]:
        """Yield the states that a node's kube-proxy may have: this one unless slices disagree about an endpoint.

        One state per order of the slices that disagree; of more than five slices only some orders are tried.
        """
        if not self.twins:
            yield self
            return
        numbers = sorted(frozenset[int]().union(*(twin.slices for twin in self.twins)))
        states: dict[tuple[ServicePort, ...], None] = {}
        for tried, order in enumerate(permutations(numbers)):
            ports = tuple(port.in_order(order, node) for port in self.ports)
            if ports not in states:
                states[ports] = None
                yield replace(self, ports=ports)
            if tried + 1 >= _MOST_ORDERS:
                return

    @property
    def has_untried_orders(self) -> bool:
        """Whether ``alternatives`` leaves orders out, as more than five slices disagree."""
        return len(frozenset[int]().union(*(twin.slices for twin in self.twins))) > 5

    def port_name(self, port: ServicePort) -> str:
        """Return ``namespace/name:port``, or ``namespace/name`` for an unnamed port; chain names derive from it."""
        return f"{self.key}:{port.name}" if port.name else self.key

    def describe(self) -> str:
        """Return the Service in one line: addresses, ports, affinity and timeout."""
        ports = ", ".join(map(str, self.ports))
        timeout = "" if self.timeout_seconds is None else f", timeoutSeconds {self.timeout_seconds}"
        return (
            f"Service {self.key}: cluster IP {', '.join(self.cluster_ips) or 'none'}, port {ports or 'none'}, "
            f"sessionAffinity {self.session_affinity}{timeout}"
        )


def shared_addresses(services: Iterable[ServiceState]) -> Mapping[tuple[str, str, int], tuple[str, ...]]:
    """Return the keys of the Services that have one address, protocol and port, by these.

    Which of them gets the traffic kube-proxy draws at every sync (kubernetes/kubernetes#69599).
    """
    owners: dict[tuple[str, str, int], dict[str, None]] = {}
    for service in services:
        for address in (*service.cluster_ips, *service.external_ips, *service.balancer_ips):
            for port in service.ports if service.cluster_ips else ():
                owners.setdefault((address, port.protocol, port.port), {})[service.key] = None
    return {key: tuple(keys) for key, keys in owners.items() if len(keys) > 1}


def _labels(api_object: Mapping[str, Any]) -> Mapping[str, str]:
    return (api_object.get("metadata") or {}).get("labels") or {}


def _belongs(endpoint_slice: Mapping[str, Any], namespace: str, name: str) -> bool:
    meta = endpoint_slice.get("metadata") or {}
    return (meta.get("namespace", namespace), _labels(endpoint_slice).get(SERVICE_NAME_LABEL)) == (namespace, name)


def _cluster_ips(service: Mapping[str, Any], release: tuple[int, int]) -> Sequence[str | None]:
    """Return the cluster IPs of both families; none of a Service that kube-proxy leaves alone."""
    spec = service["spec"]
    ignored = {PROXY_NAME_LABEL} if release >= (1, 36) else {HEADLESS_LABEL, PROXY_NAME_LABEL}
    if spec.get("type") == "ExternalName" or ignored & _labels(service).keys():
        return ()
    return spec.get("clusterIPs") or [spec.get("clusterIP")]


def _of_family(family: Family, addresses: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(address for address in readable(canonical_address, addresses) if family_of(address) == family)


def _source_ranges(family: Family, ranges: Iterable[str], release: tuple[int, int]) -> tuple[str, ...]:
    """Return the ranges of a family; none when one of them is any address (serviceport.go, newBaseServiceInfo)."""
    of_family = tuple(cidr for cidr in readable(canonical_range, ranges) if family_of_range(cidr) == family)
    is_open = release >= (1, 34) and any(cidr.endswith("/0") for cidr in of_family)
    return () if is_open else of_family


def readable(canonical: Callable[[str], str], texts: Iterable[str | None]) -> Iterator[str]:
    """Yield the canonical forms of addresses or ranges; what cannot be parsed is skipped as kube-proxy does.

    Source: MapIPsByIPFamily in pkg/proxy/util/utils.go, GetNodeHostIPs in pkg/util/node/node.go.
    """
    for text in texts:
        with suppress(ValueError):
            yield canonical(text or "")


def _reachable_from_outside(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))


def _service_port(
    port: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], release: tuple[int, int]
) -> ServicePort:
    name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
    by_address: dict[str, list[EndpointEntry]] = {}
    for number, endpoint_slice in enumerate(slices):
        for entry in _entries(number, endpoint_slice, (name, protocol)):
            by_address.setdefault(entry.endpoint.at, []).append(entry)
    several = [Twin(tuple(entries), release < (1, 36)) for entries in by_address.values() if len(entries) > 1]
    service_port = ServicePort(
        name,
        protocol,
        int(port["port"]),
        node_port=int(port.get("nodePort") or 0),
        entry_count=len(by_address),
        twins=tuple(twin for twin in several if len(set(map(_decisive, twin.entries))) > 1),
        **_used(
            [entries[0].endpoint for entries in by_address.values() if entries[0].is_ready],
            [entries[0].endpoint for entries in by_address.values() if entries[0].is_draining],
        ),
    )
    return service_port.in_order(range(len(slices)))


def _used(ready: Iterable[Endpoint], draining: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the fields of a port: the endpoints in use, and those that serve while they terminate."""
    ready, draining = (tuple(sorted(endpoints, key=lambda endpoint: endpoint.at)) for endpoints in (ready, draining))
    return {"endpoints": ready or draining, "serving_terminating": draining}


def _decisive(entry: EndpointEntry) -> tuple[object, ...]:
    """Return what rules depend on: the conditions, the node and the hints."""
    endpoint = entry.endpoint
    state = "ready" if entry.is_ready else "draining" if entry.is_draining else ""
    return state, endpoint.node, endpoint.for_zones, endpoint.for_nodes


def _outcomes(twin: Twin) -> set[tuple[object, ...]]:
    """Return what may become of a twin: the slice that is read first or last decides which entry is kept."""
    numbers = sorted(twin.slices)
    nodes = {entry.endpoint.node for entry in twin.entries} if twin.prefers_local else {""}
    orders = [
        (*(number for number in numbers if number < edge), *(number for number in numbers if number > edge))
        for edge in numbers
    ]
    tried = [order for edge, rest in zip(numbers, orders, strict=True) for order in ((edge, *rest), (*rest, edge))]
    by_node = [{_decisive(twin.entry(order, node)) for order in tried} for node in nodes]
    return max(by_node, key=len)


def _entries(
    number: int, endpoint_slice: Mapping[str, Any], name_and_protocol: tuple[str, str]
) -> Iterator[EndpointEntry]:
    """Yield the entries of a slice for the port of this name and protocol."""
    for port in endpoint_slice.get("ports") or ():
        if (port.get("name") or "", port.get("protocol") or "TCP") != name_and_protocol or not port.get("port"):
            continue
        for listed in endpoint_slice.get("endpoints") or ():
            addresses = listed.get("addresses")
            if not addresses:
                continue
            target = listed.get("targetRef") or {}
            hints = listed.get("hints") or {}
            conditions = listed.get("conditions") or {}
            is_terminating = bool(conditions.get("terminating"))
            is_ready = conditions.get("ready") is not False
            yield EndpointEntry(
                number,
                Endpoint(
                    address=canonical_address(addresses[0]),
                    port=int(port["port"]),
                    pod=target.get("name", "") if target.get("kind", "Pod") == "Pod" else "",
                    node=listed.get("nodeName") or "",
                    for_zones=tuple(sorted(zone["name"] for zone in hints.get("forZones") or ())),
                    for_nodes=tuple(sorted(node["name"] for node in hints.get("forNodes") or ())),
                ),
                is_ready,
                not is_ready and is_terminating and conditions.get("serving") is not False,
                is_terminating,
            )
