"""A Service as kube-proxy programs it: one IP family, ready endpoints, in kube-proxy's order."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Family = Literal["IPv4", "IPv6"]
FAMILIES: Final[tuple[Family, ...]] = ("IPv4", "IPv6")

CLIENT_IP = "ClientIP"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def host_port(address: str, port: int) -> str:
    """Return ``address:port``, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


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

    @property
    def at(self) -> str:
        """``ip:port`` as kube-proxy writes it: the DNAT target; chain names and endpoint order derive from it."""
        return host_port(self.address, self.port)

    def __str__(self) -> str:
        where = " on ".join(part for part in (f"pod {self.pod}" if self.pod else "", self.node) if part)
        return f"{self.at} ({where})" if where else self.at


@dataclass(frozen=True)
class ServicePort:
    """A port of a Service with its endpoints; ``protocol`` is TCP, UDP or SCTP, ``name`` is empty when unnamed.

    ``node_port`` is 0 when the port has none. ``serving_terminating`` are the endpoints that are terminating and still
    serving; while no endpoint is ready, ``endpoints`` has them too.
    """

    name: str
    protocol: str
    port: int
    endpoints: tuple[Endpoint, ...] = ()
    node_port: int = 0
    serving_terminating: tuple[Endpoint, ...] = ()

    def __str__(self) -> str:
        name = f"{self.name} " if self.name else ""
        return f"{name}{self.port}/{self.protocol}" + (f" at node port {self.node_port}" if self.node_port else "")


@dataclass(frozen=True)
class ServiceState:
    """The fields of one Service and its endpoints that decide a node's rules in one IP family.

    Addresses of the other family are left out. ``cluster_ips`` is empty for a headless Service. ``timeout_seconds`` is
    None without session affinity. ``external_policy`` is empty for a Service that cannot be reached from outside the
    cluster. ``external_ips`` is spec.externalIPs. ``balancer_ips`` are the load balancer addresses that nodes handle
    themselves (ipMode VIP); if there are ``source_ranges``, only clients in these ranges may use them.
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

    @classmethod
    def from_objects(
        cls, service: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], *, family: Family = "IPv4"
    ) -> ServiceState:
        """Build the state from a Service and EndpointSlices as the API's JSON; slices of other Services are ignored.

        An endpoint is used when its ``ready`` condition is true or absent; while there is none, the terminating
        endpoints that still serve are used (pkg/proxy/topology.go, CategorizeEndpoints). A slice belongs to a port when
        name and protocol are equal, an endpoint is represented by its first address, an endpoint in two slices counts
        once, and endpoints are sorted by their ``ip:port`` strings (pkg/proxy/endpointslicecache.go).
        """
        meta, spec = service["metadata"], service["spec"]
        addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
        balancer = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        affinity = spec.get("sessionAffinity") or "None"
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        service_slices = [
            endpoint_slice
            for endpoint_slice in slices
            if endpoint_slice.get("addressType", family) == family
            and _belongs(endpoint_slice, meta["namespace"], meta["name"])
        ]
        balancer_ips = [ingress.get("ip") for ingress in balancer if ingress.get("ipMode", "VIP") == "VIP"]
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            cluster_ips=_of_family(family, addresses),
            session_affinity=affinity,
            timeout_seconds=client_ip.get("timeoutSeconds") if affinity == CLIENT_IP else None,
            ports=tuple(_service_port(port, service_slices) for port in spec.get("ports") or ()),
            family=family,
            internal_policy=spec.get("internalTrafficPolicy") or "Cluster",
            external_policy=(spec.get("externalTrafficPolicy") or "Cluster") if _reachable_from_outside(spec) else "",
            external_ips=_of_family(family, spec.get("externalIPs") or ()),
            balancer_ips=_of_family(family, balancer_ips),
            source_ranges=_of_family(family, spec.get("loadBalancerSourceRanges") or ()),
        )

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

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Whether nodes use the endpoints of all nodes (pkg/proxy/serviceport.go, UsesClusterEndpoints)."""
        return self.internal_policy != "Local" or bool(self.external_policy)

    @property
    def uses_local_endpoints(self) -> bool:
        """Whether nodes use their local endpoints separately (pkg/proxy/serviceport.go, UsesLocalEndpoints)."""
        return "Local" in (self.internal_policy, self.external_policy)

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


def _belongs(endpoint_slice: Mapping[str, Any], namespace: str, name: str) -> bool:
    meta = endpoint_slice.get("metadata") or {}
    labels = meta.get("labels") or {}
    return (meta.get("namespace", namespace), labels.get(SERVICE_NAME_LABEL, name)) == (namespace, name)


def _of_family(family: Family, addresses: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(
        address
        for address in addresses
        if address and address != "None" and family_of(address.partition("/")[0]) == family
    )


def _reachable_from_outside(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))


def _service_port(port: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> ServicePort:
    name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
    ready, serving_terminating = (
        {endpoint.at: endpoint for part in parts for endpoint in _endpoints(part, name, protocol)}
        for parts in (slices, [_serving_terminating(part) for part in slices])
    )
    in_use = ready or serving_terminating
    return ServicePort(
        name,
        protocol,
        int(port["port"]),
        tuple(in_use[at] for at in sorted(in_use)),
        int(port.get("nodePort") or 0),
        serving_terminating=tuple(serving_terminating[at] for at in sorted(serving_terminating)),
    )


def _serving_terminating(endpoint_slice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a slice with only its serving and terminating endpoints, as if they were ready."""
    conditions = ((endpoint, endpoint.get("conditions") or {}) for endpoint in endpoint_slice.get("endpoints") or ())
    serving = [
        {**endpoint, "conditions": {}}
        for endpoint, condition in conditions
        if condition.get("ready") is False and condition.get("serving") and condition.get("terminating")
    ]
    return {**endpoint_slice, "endpoints": serving}


def _endpoints(endpoint_slice: Mapping[str, Any], name: str, protocol: str) -> Iterator[Endpoint]:
    for port in endpoint_slice.get("ports") or ():
        if (port.get("name") or "", port.get("protocol") or "TCP") != (name, protocol) or not port.get("port"):
            continue
        for endpoint in endpoint_slice.get("endpoints") or ():
            addresses = endpoint.get("addresses")
            if addresses and (endpoint.get("conditions") or {}).get("ready") is not False:
                target = endpoint.get("targetRef") or {}
                pod = target.get("name", "") if target.get("kind", "Pod") == "Pod" else ""
                hints = endpoint.get("hints") or {}
                yield Endpoint(
                    address=addresses[0],
                    port=int(port["port"]),
                    pod=pod,
                    node=endpoint.get("nodeName") or "",
                    for_zones=tuple(sorted(zone["name"] for zone in hints.get("forZones") or ())),
                    for_nodes=tuple(sorted(node["name"] for node in hints.get("forNodes") or ())),
                )
