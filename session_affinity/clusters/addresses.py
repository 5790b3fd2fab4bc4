"""The IP families a cluster can be asked for, and the addresses of the clusters that the suite makes.

The IPv4 ranges are those of the walk this suite began with. The IPv6 ranges are parts of one /48 of unique local
addresses whose 40-bit global id was drawn at random, as RFC 4193 section 3.2 asks, so that they are nobody else's;
an embedded cluster has them in namespaces of its own in any case.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.model import Family

IP_FAMILIES: Final = ("ipv4", "ipv6", "dual")
"""What ``--ip-family`` takes; on a dual-stack cluster the primary family is IPv4."""
DEFAULT_IP_FAMILY: Final = "ipv4"
_FAMILIES: Final[Mapping[str, tuple[Family, ...]]] = {
    "ipv4": ("IPv4",),
    "ipv6": ("IPv6",),
    "dual": ("IPv4", "IPv6"),
}


@dataclass(frozen=True)
class Ranges:
    """The ranges of one family, in CIDR notation; every node gets a part of ``pods`` of ``pods_prefix`` length."""

    pods: str
    services: str
    nodes: str
    pods_prefix: int

    def node_address(self, number: int) -> str:
        """Return the address of a node, counted from 0."""
        return str(ipaddress.ip_network(self.nodes)[number + 2])

    def pods_of_node(self, number: int) -> str:
        """Return the part of the pod range that a node has, counted from 0."""
        network = ipaddress.ip_network(self.pods)
        size = 2 ** (network.max_prefixlen - self.pods_prefix)
        return f"{network[number * size]}/{self.pods_prefix}"

    def service_address(self, number: int) -> str:
        """Return an address of the Service range; the first is that of Service default/kubernetes."""
        return str(ipaddress.ip_network(self.services)[number])

    @property
    def nodes_prefix(self) -> int:
        """The prefix length of the network between the nodes."""
        return ipaddress.ip_network(self.nodes).prefixlen


RANGES: Final[Mapping[Family, Ranges]] = {
    "IPv4": Ranges(pods="10.10.0.0/16", services="10.200.1.0/24", nodes="172.30.0.0/16", pods_prefix=24),
    "IPv6": Ranges(
        pods="fda1:e50:a682:100::/56",
        services="fda1:e50:a682:2::/112",
        nodes="fda1:e50:a682:1::/64",
        pods_prefix=64,
    ),
}


def families_of(ip_family: str) -> tuple[Family, ...]:
    """Return the families of an ``--ip-family``, the primary one first; raises UsageError when there is none of it."""
    if ip_family not in _FAMILIES:
        raise UsageError(f"IP family {ip_family!r} is not known; there are: {', '.join(IP_FAMILIES)}")
    return _FAMILIES[ip_family]


def ranges_of(ip_family: str) -> tuple[Ranges, ...]:
    """Return the ranges of a cluster, those of its primary family first."""
    return tuple(RANGES[family] for family in families_of(ip_family))
