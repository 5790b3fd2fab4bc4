"""The Service as its dataplane should know it: one IP family, ready endpoints, in the order kube-proxy uses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
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
    """Return the IP family of an address; raises ValueError when it is none."""
    return "IPv4" if ipaddress.ip_address(address).version == 4 else "IPv6"


def family_of_range(cidr: str) -> Family:
    """Return the IP family of a range in CIDR notation; raises ValueError when it is none."""
    return family_of(cidr.partition("/")[0])


@dataclass(frozen=True)
class Endpoint:
    """A ready endpoint of one port of a Service.

    ``pod`` and ``node`` are empty when the EndpointSlice names none. ``for_zones`` and ``for_nodes`` are its hints: the
    zones and nodes whose clients are to use it.
    """

    address: str
    port: int
    pod: str = ""
    node: str = ""
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()

    @property
    def at(self) -> str:
        """``ip:port`` as kube-proxy writes it: the DNAT target, and what names and order derive from."""
        return host_port(self.address, self.port)

    def __str__(self) -> str:
        where = " on ".join(part for part in (f"pod {self.pod}" if self.pod else "", self.node) if part)
        return f"{self.at} ({where})" if where else self.at


@dataclass(frozen=True)
class ServicePort:
    """A port of a Service with its endpoints; ``protocol`` is TCP, UDP or SCTP, ``name`` is empty when unnamed.

    ``node_port`` is the port of every node that leads to it, 0 for none. ``serving_terminating`` are the endpoints that
    are terminating and still serving; while none is ready, they are among ``endpoints`` too.
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
    """What a dataplane programs for one Service in one IP family.

    ``cluster_ips`` holds this family's addresses only and is empty for a headless Service. ``timeout_seconds`` is None
    without session affinity. ``external_policy`` is empty for a Service that nothing outside the cluster can reach.
    ``external_ips`` are the addresses of spec.externalIPs, ``balancer_ips`` those of a load balancer that nodes answer
    for, which takes clients of ``source_ranges`` only where there are any; all of this family.
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
        """Read a Service and EndpointSlices, both as the API's JSON; slices of other Services are passed over.

        An endpoint counts when its ``ready`` condition is true or absent; while none is, those count that terminate and
        still serve (pkg/proxy/topology.go, CategorizeEndpoints). A slice belongs to a port when name and
        protocol agree, an endpoint is its first address, endpoints that two slices share count once, and the order is
        that of their ``ip:port`` strings: kube-proxy's pkg/proxy/endpointslicecache.go.
        """
        meta, spec = service["metadata"], service["spec"]
        addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
        balancer = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        affinity = spec.get("sessionAffinity") or "None"
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        own = [
            piece
            for piece in slices
            if piece.get("addressType", family) == family and _belongs(piece, meta["namespace"], meta["name"])
        ]
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            cluster_ips=_of_family(family, addresses),
            session_affinity=affinity,
            timeout_seconds=client_ip.get("timeoutSeconds") if affinity == CLIENT_IP else None,
            ports=tuple(_service_port(port, own) for port in spec.get("ports") or ()),
            family=family,
            internal_policy=spec.get("internalTrafficPolicy") or "Cluster",
            external_policy=(spec.get("externalTrafficPolicy") or "Cluster") if _reachable_from_outside(spec) else "",
            external_ips=_of_family(family, spec.get("externalIPs") or ()),
            balancer_ips=_of_family(family, [one.get("ip") for one in balancer if one.get("ipMode", "VIP") == "VIP"]),
            source_ranges=_of_family(family, spec.get("loadBalancerSourceRanges") or ()),
        )

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def has_affinity(self) -> bool:
        """Whether clients are to be remembered by their address."""
        return self.session_affinity == CLIENT_IP

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of all ports."""
        return tuple(endpoint for port in self.ports for endpoint in port.endpoints)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Whether nodes balance over all endpoints (pkg/proxy/serviceport.go, UsesClusterEndpoints)."""
        return self.internal_policy != "Local" or bool(self.external_policy)

    @property
    def uses_local_endpoints(self) -> bool:
        """Whether nodes balance over their own endpoints alone (pkg/proxy/serviceport.go, UsesLocalEndpoints)."""
        return "Local" in (self.internal_policy, self.external_policy)

    def port_name(self, port: ServicePort) -> str:
        """Return ``namespace/name:port``, or ``namespace/name`` for an unnamed port: what chain names derive from."""
        return f"{self.key}:{port.name}" if port.name else self.key

    def describe(self) -> str:
        """Return the Service in one line: addresses, ports, affinity and timeout."""
        ports = ", ".join(map(str, self.ports))
        timeout = "" if self.timeout_seconds is None else f", timeoutSeconds {self.timeout_seconds}"
        return (
            f"Service {self.key}: cluster IP {', '.join(self.cluster_ips) or 'none'}, port {ports or 'none'}, "
            f"sessionAffinity {self.session_affinity}{timeout}"
        )


@dataclass(frozen=True)
class ProxyConfig:
    """What the expected state needs to know of a node's kube-proxy.

    ``cluster_cidr`` is a range, or those of two families with a comma between; None where it does not tell pods from
    others, and so marks nothing at the cluster IP. ``zones`` are those of the nodes by name; they matter to Services
    whose endpoints have hints.
    """

    mode: str
    cluster_cidr: str | None
    masquerade_bit: int = 14
    zones: Mapping[str, str] = field(default_factory=dict)

    def pod_range(self, family: Family) -> str | None:
        """Return the part of ``cluster_cidr`` of one family; None where it does not tell that family's pods."""
        ranges = (self.cluster_cidr or "").split(",")
        return next((one for one in ranges if one and family_of_range(one) == family), None)


def _belongs(piece: Mapping[str, Any], namespace: str, name: str) -> bool:
    meta = piece.get("metadata") or {}
    labels = meta.get("labels") or {}
    found = (meta.get("namespace", namespace), labels.get(SERVICE_NAME_LABEL, name))
    return found == (namespace, name)


def _of_family(family: Family, addresses: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(one for one in addresses if one and one != "None" and family_of(one.partition("/")[0]) == family)


def _reachable_from_outside(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))


def _service_port(port: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> ServicePort:
    name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
    ready, serving_terminating = (
        {endpoint.at: endpoint for piece in pieces for endpoint in _endpoints(piece, name, protocol)}
        for pieces in (slices, [_draining(piece) for piece in slices])
    )
    endpoints, also = (
        tuple(found[at] for at in sorted(found)) for found in (ready or serving_terminating, serving_terminating)
    )
    return ServicePort(
        name, protocol, int(port["port"]), endpoints, int(port.get("nodePort") or 0), serving_terminating=also
    )


def _draining(piece: Mapping[str, Any]) -> dict[str, Any]:
    """Return a slice with those of its endpoints that terminate and still serve, as if they were ready."""
    stated = ((endpoint, endpoint.get("conditions") or {}) for endpoint in piece.get("endpoints") or ())
    serving = [
        {**endpoint, "conditions": {}}
        for endpoint, states in stated
        if states.get("ready") is False and states.get("serving") and states.get("terminating")
    ]
    return {**piece, "endpoints": serving}


def _endpoints(piece: Mapping[str, Any], name: str, protocol: str) -> Iterator[Endpoint]:
    for port in piece.get("ports") or ():
        if (port.get("name") or "", port.get("protocol") or "TCP") != (name, protocol) or not port.get("port"):
            continue
        for endpoint in piece.get("endpoints") or ():
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
                    for_zones=tuple(sorted(one["name"] for one in hints.get("forZones") or ())),
                    for_nodes=tuple(sorted(one["name"] for one in hints.get("forNodes") or ())),
                )
