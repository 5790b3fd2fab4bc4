"""The IP families of a cluster, and the address ranges of the clusters that the suite creates.

The IPv4 ranges are the suite's own choice. The IPv6 ranges are parts of one /48 of unique local addresses with a random
40-bit global ID, as RFC 4193 section 3.2 requires, so that they do not collide with other sites. An embedded cluster
uses all of them inside network namespaces only.
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
"""The values of ``--ip-family``; the primary family of a dual-stack cluster is IPv4."""
DEFAULT_IP_FAMILY: Final = "ipv4"
_FAMILIES: Final[Mapping[str, tuple[Family, ...]]] = {
    "ipv4": ("IPv4",),
    "ipv6": ("IPv6",),
    "dual": ("IPv4", "IPv6"),
}


@dataclass(frozen=True)
class Ranges:
    """The address ranges of one family in CIDR notation; each node gets a ``/pods_prefix`` subnet of ``pods``."""

    pods: str
    services: str
    nodes: str
    pods_prefix: int

    def node_address(self, number: int) -> str:
        """Return the address of the node with this number; the control plane is number 0."""
        return str(ipaddress.ip_network(self.nodes)[number + 2])

    def pods_of_node(self, number: int) -> str:
        """Return the pod CIDR of the node with this number; the control plane is number 0."""
        network = ipaddress.ip_network(self.pods)
        size = 2 ** (network.max_prefixlen - self.pods_prefix)
        return f"{network[number * size]}/{self.pods_prefix}"

    def service_address(self, number: int) -> str:
        """Return the address at this index of the Service range; index 1 is Service default/kubernetes."""
        return str(ipaddress.ip_network(self.services)[number])

    @property
    def nodes_prefix(self) -> int:
        """The prefix length of the node network."""
        return ipaddress.ip_network(self.nodes).prefixlen


RANGES: Final[Mapping[Family, Ranges]] = {
    "IPv4": Ranges(pods="10.10.0.0/16", services="10.200.0.0/16", nodes="172.30.0.0/16", pods_prefix=24),
    "IPv6": Ranges(
        pods="fda1:e50:a682:100::/56",
        services="fda1:e50:a682:2::/112",
        nodes="fda1:e50:a682:1::/64",
        pods_prefix=64,
    ),
}


def families_of(ip_family: str) -> tuple[Family, ...]:
    """Return the families of an ``--ip-family``, the primary family first; raises UsageError for an unknown value."""
    if ip_family not in _FAMILIES:
        raise UsageError(f"unknown IP family {ip_family!r}", next_step=f"use one of {', '.join(IP_FAMILIES)}")
    return _FAMILIES[ip_family]


def ranges_of(ip_family: str) -> tuple[Ranges, ...]:
    """Return the address ranges of a cluster, those of its primary family first."""
    return tuple(RANGES[family] for family in families_of(ip_family))
