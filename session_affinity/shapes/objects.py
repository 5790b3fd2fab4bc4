"""The objects of a shape: a Service without selector and its EndpointSlices, as manifests for ``kubectl apply``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import (
    HEADLESS_LABEL,
    PROXY_NAME_LABEL,
    SERVICE_NAME_LABEL,
    canonical_address,
    readable,
)
from session_affinity.dataplane.proxy_config import ZONE_LABEL
from session_affinity.shapes import dimensions as of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import Family

Json = dict[str, Any]

MOST_NUMBERS: Final = 512
"""How many shapes can exist at the same time: each number has addresses of its own."""
NO_PROVIDER: Final = "session-affinity-conformance/none"
"""A loadBalancerClass without an implementation: no cloud provider creates a load balancer and charges for it."""
OTHER_PROXY_NAME: Final = "session-affinity-conformance"
LONG_NAME: Final = 63
FIRST_PORT: Final = 8000
FIRST_TARGET_PORT: Final = 9000
POD_PORT: Final = 80
"""The port at which pods answer."""
OTHER_TARGET_PORTS: Final = 1000
"""How far the second target port of a port is from the first."""
ABSENT: Final = "session-affinity-absent"
"""The name of a node, and of a zone, that no cluster has."""
ZONE_ELSEWHERE: Final = ABSENT

# Addresses for benchmarks (RFC 2544, RFC 5180): they lead to nobody.
_ENDPOINTS: Final[Mapping[Family, int]] = {
    "IPv4": int(ipaddress.ip_address("198.18.0.0")),
    "IPv6": int(ipaddress.ip_address("2001:2::")),
}
_OUTSIDE: Final[Mapping[Family, int]] = {
    "IPv4": int(ipaddress.ip_address("198.19.0.0")),
    "IPv6": int(ipaddress.ip_address("2001:2:0:1::")),
}
_PER_NUMBER: Final = 128
_OUTSIDE_PER_NUMBER: Final = 8
_ANY_RANGE: Final[Mapping[Family, str]] = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
_RANGES: Final[Mapping[Family, tuple[str, str]]] = {
    "IPv4": ("192.0.2.0/24", "203.0.113.0/25"),
    "IPv6": ("2001:db8::/32", "2001:db8:1::/48"),
}


@dataclass(frozen=True)
class SiteNode:
    """A node: its zone, empty when it has none, and its addresses."""

    name: str
    zone: str
    addresses: tuple[str, ...]

    def address(self, family: Family) -> str:
        """Return the node's address in a family; empty when it has none."""
        return _of_family(self.addresses, family)


@dataclass(frozen=True)
class SitePod:
    """A pod that answers at port 80: its node, and its addresses."""

    name: str
    node: str
    addresses: tuple[str, ...]

    def address(self, family: Family) -> str:
        """Return the pod's address in a family; empty when it has none."""
        return _of_family(self.addresses, family)


@dataclass(frozen=True)
class Site:
    """Where shapes are made: the nodes, the namespace, and the IP families of Services, the primary one first.

    ``pods`` are the endpoints of shapes that clients send requests to; by default endpoints are addresses of nobody.
    ``longest_comment`` is how many characters namespace, name and port may have together (see
    ``session_affinity.releases``); None for no limit but the API's.
    """

    nodes: tuple[SiteNode, ...]
    families: tuple[Family, ...] = ("IPv4",)
    namespace: str = "default"
    pods: tuple[SitePod, ...] = ()
    longest_comment: int | None = None

    @classmethod
    def of(cls, nodes: Sequence[Mapping[str, Any]], families: Sequence[Family], namespace: str) -> Site:
        """Return the site of a cluster with these Node objects."""
        return cls(
            tuple(
                SiteNode(
                    node["metadata"]["name"],
                    str((node["metadata"].get("labels") or {}).get(ZONE_LABEL, "")),
                    tuple(
                        readable(
                            canonical_address,
                            (
                                address["address"]
                                for address in (node.get("status") or {}).get("addresses") or ()
                                if address["type"] == "InternalIP"
                            ),
                        )
                    ),
                )
                for node in nodes
            ),
            tuple(families),
            namespace,
        )


@dataclass(frozen=True)
class ShapeObjects:
    """A Service with the values of a row, and its slices."""

    service: Json
    slices: tuple[Json, ...]

    @property
    def name(self) -> str:
        """The name of the Service."""
        return str(self.service["metadata"]["name"])

    @property
    def all(self) -> tuple[Json, ...]:
        """The Service and its slices."""
        return (self.service, *self.slices)


def objects(row: Mapping[str, str], number: int, site: Site, run: str) -> ShapeObjects:
    """Return the objects of a row; ``number`` tells the addresses of rows apart, ``run`` their names from others'."""
    name = f"affinity-shape-{number:03}-{run}"
    families = _families(row, site)
    ports = _ports(row, _room(site, name))
    if row[of.NAME] == of.LONG:
        port = max(len(port["name"]) for port in ports)
        name = name.ljust(min(LONG_NAME, len(name) + _room(site, name) - port), "x")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": site.namespace, **_labels(row)},
        "spec": _spec(row, number, site, families, ports),
        **_status(row, number, families),
    }
    labels = {SERVICE_NAME_LABEL: name, **_slice_labels(row)}
    slices = []
    for family in families or site.families[:1]:
        for place, (target_offset, endpoints) in enumerate(_slices(row, number, site, family)):
            slices.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": f"{name}-{family.lower()}-{place}",
                        "namespace": site.namespace,
                        "labels": dict(labels),
                    },
                    "addressType": family,
                    "ports": [
                        {
                            "name": port["name"],
                            "port": POD_PORT if site.pods else FIRST_TARGET_PORT + place_of_port + target_offset,
                            "protocol": port["protocol"],
                        }
                        for place_of_port, port in enumerate(ports)
                    ],
                    "endpoints": endpoints,
                }
            )
    return ShapeObjects(service, tuple(slices))


def _of_family(addresses: Sequence[str], family: Family) -> str:
    version = 6 if family == "IPv6" else 4
    return next((text for text in addresses if ipaddress.ip_address(text).version == version), "")


def _families(row: Mapping[str, str], site: Site) -> tuple[Family, ...]:
    first, *others = site.families
    if row[of.TYPE] == of.EXTERNAL_NAME:
        return ()
    second = others[0] if others else first
    by_value: Mapping[str, tuple[Family, ...]] = {
        of.FIRST: (first,),
        of.SECOND: (second,),
        of.BOTH: (first, second),
        of.REVERSED: (second, first),
    }
    return tuple(dict.fromkeys(by_value[row[of.FAMILIES]]))


def _room(site: Site, name: str) -> int:
    """Return how many characters a port's name may have, and the Service's more than this name, both together."""
    if site.longest_comment is None:
        return 2 * LONG_NAME
    return site.longest_comment - len(f"{site.namespace}/{name}:")


def _ports(row: Mapping[str, str], room: int) -> list[Json]:
    count = int(row[of.PORTS])
    ports = []
    for place in range(count):
        long = "abc"[place] * min(LONG_NAME, room)
        name = {of.NONE: "", "one character": "abc"[place]}.get(row[of.PORT_NAME], long)
        protocol = row[of.PROTOCOL]
        number = FIRST_PORT + place
        if protocol == of.TCP_AND_UDP:
            protocol = ("TCP", "UDP", "TCP")[place]
            number = FIRST_PORT + (place if place > 1 else 0)
        ports.append({"name": name, "port": number, "protocol": protocol})
    return ports


def _labels(row: Mapping[str, str]) -> Json:
    labels = {of.OTHER_PROXY: {PROXY_NAME_LABEL: OTHER_PROXY_NAME}, of.HEADLESS_LABEL: {HEADLESS_LABEL: ""}}
    return {"labels": labels[row[of.LABELS]]} if row[of.LABELS] in labels else {}


def _slice_labels(row: Mapping[str, str]) -> dict[str, str]:
    labels = {of.SLICES_OTHER_PROXY: {PROXY_NAME_LABEL: OTHER_PROXY_NAME}, of.SLICES_HEADLESS: {HEADLESS_LABEL: ""}}
    return labels.get(row[of.LABELS], {})


def _spec(row: Mapping[str, str], number: int, site: Site, families: Sequence[Family], ports: list[Json]) -> Json:
    spec: Json = {
        "ports": [{name: value for name, value in port.items() if value != ""} for port in ports],
        **_type(row[of.TYPE], families),
        **_affinity(row[of.AFFINITY]),
    }
    if row[of.EXTERNAL_IPS] != of.NONE:
        count = 1 if row[of.EXTERNAL_IPS] == of.ONE else 2
        spec["externalIPs"] = [_outside(number, place, family) for family in families for place in range(count)]
    if row[of.INTERNAL_POLICY] != of.CLUSTER:
        spec["internalTrafficPolicy"] = row[of.INTERNAL_POLICY]
    if row[of.EXTERNAL_POLICY] != of.CLUSTER:
        spec["externalTrafficPolicy"] = row[of.EXTERNAL_POLICY]
    if row[of.RANGES] != of.NONE:
        spec["loadBalancerSourceRanges"] = _ranges(row[of.RANGES], site, families)
    if row[of.NOT_READY] == of.YES:
        spec["publishNotReadyAddresses"] = True
    return spec


def _type(value: str, families: Sequence[Family]) -> Json:
    if value == of.EXTERNAL_NAME:
        return {"type": of.EXTERNAL_NAME, "externalName": "session-affinity.invalid"}
    policy = "SingleStack" if len(families) == 1 else "RequireDualStack"
    fields: Json = {"ipFamilyPolicy": policy, "ipFamilies": list(families)}
    if value == of.HEADLESS:
        return {**fields, "clusterIP": "None"}
    if value in of.LOAD_BALANCERS:
        without = {"allocateLoadBalancerNodePorts": False} if value == of.WITHOUT_NODE_PORTS else {}
        return {**fields, "type": of.LOAD_BALANCER, "loadBalancerClass": NO_PROVIDER, **without}
    return {**fields, "type": value} if value == of.NODE_PORT else fields


def _affinity(value: str) -> Json:
    if value not in of.TIMEOUTS:
        return {}
    seconds = of.TIMEOUTS[value]
    config = {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}} if seconds else {}
    return {"sessionAffinity": of.CLIENT_IP, **config}


def _ranges(value: str, site: Site, families: Sequence[Family]) -> list[str]:
    if value == of.OTHER_FAMILY:
        other: Family = "IPv4" if families[0] == "IPv6" else "IPv6"
        return [_RANGES[other][0]]
    ranges: list[str] = []
    for family in families:
        one, two = _RANGES[family]
        addresses = [address for node in site.nodes if (address := node.address(family))]
        length = 128 if family == "IPv6" else 32
        ranges += {
            of.ONE: [one],
            of.TWO: [one, two],
            of.BLANKS: [f" {one}", f"{two} "],
            of.ANY: [one, _ANY_RANGE[family]],
            of.OF_NODES: [one, *(f"{address}/{length}" for address in addresses)],
        }[value]
    return ranges


def _status(row: Mapping[str, str], number: int, families: Sequence[Family]) -> Json:
    if row[of.BALANCER] == of.NONE:
        return {}
    count = 2 if row[of.BALANCER] == of.TWO else 1
    mode = "Proxy" if row[of.BALANCER] == of.PROXY else "VIP"
    ingress = [
        {"ip": _outside(number, 2 + place, family), "ipMode": mode} for family in families for place in range(count)
    ]
    return {"status": {"loadBalancer": {"ingress": ingress}}}


def _outside(number: int, place: int, family: Family) -> str:
    return str(ipaddress.ip_address(_OUTSIDE[family] + number % MOST_NUMBERS * _OUTSIDE_PER_NUMBER + place))


def _slices(row: Mapping[str, str], number: int, site: Site, family: Family) -> Iterator[tuple[int, list[Json]]]:
    """Yield the slices of a family: how far their target ports are from the usual ones, and their endpoints."""
    endpoints = list(_endpoints(row, number, site, family))
    match row[of.SLICES]:
        case of.SEVERAL_SLICES:
            yield from ((0, endpoints[place::3]) for place in range(min(3, len(endpoints))))
        case of.EMPTY_SLICE:
            yield 0, []
            yield 0, endpoints
        case of.OVERLAP:
            yield 0, endpoints
            yield 0, endpoints[:1]
        case of.TARGET_PORTS:
            yield 0, endpoints[::2]
            yield OTHER_TARGET_PORTS, endpoints[1::2]
        case _:
            yield 0, endpoints
    match row[of.ADDRESSES]:
        case of.TWICE:
            yield 0, [endpoints[-1], endpoints[-1]]
        case of.TWO_PORTS:
            yield 2 * OTHER_TARGET_PORTS, endpoints[-1:]
        case of.NOT_ALIKE:
            # The slice of the last endpoint may have another target port.
            offset = OTHER_TARGET_PORTS if row[of.SLICES] == of.TARGET_PORTS and len(endpoints) % 2 == 0 else 0
            yield offset, [{**endpoints[-1], "conditions": {"ready": False, "serving": False, "terminating": False}}]


def _endpoints(row: Mapping[str, str], number: int, site: Site, family: Family) -> Iterator[Json]:
    if site.pods:
        yield from _pod_endpoints(row, site, family)
        return
    count = int(row[of.ENDPOINTS])
    placed = list(islice(cycle(site.nodes), count))
    for place, node in enumerate(placed):
        address = str(ipaddress.ip_address(_ENDPOINTS[family] + number % MOST_NUMBERS * _PER_NUMBER + place + 1))
        name = node.name
        match row[of.PLACEMENT]:
            case of.NO_NODE:
                name = ""
            case of.ONE_NODE:
                name = site.nodes[0].name
            case of.ABSENT_NODE:
                name = ABSENT
            case of.NODE_NETWORK:
                # A node has one address on its network; further endpoints are pods.
                address = (node.address(family) if place < len(site.nodes) else "") or address
        yield {
            "addresses": [address],
            "conditions": _conditions(row[of.CONDITIONS], place),
            **({"nodeName": name} if name else {}),
            **_hints(row, place, site),
        }


def _pod_endpoints(row: Mapping[str, str], site: Site, family: Family) -> Iterator[Json]:
    """Yield the endpoints of a shape whose endpoints are pods, at most as many as there are."""
    for place, pod in enumerate(site.pods[: int(row[of.ENDPOINTS])]):
        yield {
            "addresses": [pod.address(family)],
            "conditions": _conditions(row[of.CONDITIONS], place),
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": site.namespace},
            **({} if row[of.PLACEMENT] == of.NO_NODE else {"nodeName": pod.node}),
            **_hints(row, place, site),
        }


_CONDITIONS: Final[Mapping[str, Json]] = {
    of.READY: {"ready": True, "serving": True, "terminating": False},
    of.LEFT_OUT: {},
    of.SOME_NOT_READY: {"ready": False, "serving": False, "terminating": False},
    of.SOME_TERMINATING: {"ready": False, "serving": True, "terminating": True},
    of.TERMINATING: {"ready": False, "serving": True, "terminating": True},
    of.TERMINATING_LEFT_OUT: {"ready": False, "terminating": True},
    of.NONE_READY: {"ready": False, "serving": False, "terminating": False},
    of.NOT_SERVING: {"ready": False, "serving": False, "terminating": True},
}


def _conditions(value: str, place: int) -> Json:
    is_ready = value in (of.SOME_NOT_READY, of.SOME_TERMINATING) and place % 2 == 0
    return dict(_CONDITIONS[of.READY if is_ready else value])


def _hints(row: Mapping[str, str], place: int, site: Site) -> Json:
    """Return the hints of an endpoint, for nodes and zones in turn; odd ones are those that may be not ready."""
    zones = list(dict.fromkeys(node.zone for node in site.nodes if node.zone)) or [ZONE_ELSEWHERE]
    for_zones = {"forZones": [{"name": zones[place % len(zones)]}]}
    for_nodes = {"forNodes": [{"name": site.nodes[place % len(site.nodes)].name}]}
    is_ready = _conditions(row[of.CONDITIONS], place).get("ready", True)
    hints: Json = {}
    match row[of.HINTS]:
        case of.ZONES:
            hints = for_zones
        case of.SOME_ZONES:
            hints = for_zones if place % 2 == 0 else {}
        case of.NODES:
            hints = for_nodes
        case of.NODES_AND_ZONES:
            hints = {**for_zones, **for_nodes}
        case of.ON_NOT_READY:
            hints = {} if is_ready else for_zones
    return {"hints": hints} if hints else {}
