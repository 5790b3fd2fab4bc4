"""How a kube-proxy tells the traffic of pods from other traffic, and on which addresses it answers node ports.

Source: kube-proxy's pkg/proxy/util/localdetector.go (LocalTrafficDetector) and nodeport_addresses.go, and
cmd/kube-proxy/app/server.go (expandNodePortAddressKeywords), read for 1.33 to 1.37.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from session_affinity.dataplane.model import family_of_range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.dataplane.model import Family

CLUSTER_CIDR: Final = "ClusterCIDR"
"""The default of detectLocalMode (cmd/kube-proxy/app/server_linux.go, getLocalDetectors)."""
NODE_CIDR: Final = "NodeCIDR"
BRIDGE_INTERFACE: Final = "BridgeInterface"
INTERFACE_NAME_PREFIX: Final = "InterfaceNamePrefix"
LOCAL_MODES: Final = (CLUSTER_CIDR, NODE_CIDR, BRIDGE_INTERFACE, INTERFACE_NAME_PREFIX)

PRIMARY: Final = "primary"
"""The word in nodePortAddresses for the addresses by which kube-proxy knows its node."""
LOCALHOST: Final = "localhost"
ALL: Final = "all"
LOOPBACK: Final = {"IPv4": "127.0.0.0/8", "IPv6": "::1/128"}
"""The loopback addresses by family."""
_ANY: Final = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}


@dataclass(frozen=True)
class LocalTraffic:
    """What packets of pods have in common: a source in ``pod_range``, or an incoming ``interface``.

    With ``is_prefix`` the name of the interface begins with ``interface``.
    """

    pod_range: str = ""
    interface: str = ""
    is_prefix: bool = False


@dataclass(frozen=True)
class NodePortAddresses:
    """The addresses of a node, in one IP family, on which kube-proxy answers node ports.

    ``ranges`` are those that it looks for its node's addresses in; empty when every address of the node will do.
    ``answers_on_loopback`` says whether the ranges contain IPv4 loopback addresses.
    """

    ranges: tuple[str, ...]
    answers_on_loopback: bool

    @classmethod
    def of(cls, texts: Iterable[str], family: Family, node_address: str | None) -> Self | None:
        """Return the addresses that nodePortAddresses names; None when they depend on a node's address not known.

        Ranges of the other family alone leave every address, as does a range of all.
        """
        written = list(texts)
        if PRIMARY in written and node_address is None:
            return None
        ranges = [range_ for text in written for range_ in _expanded(text, family, node_address)]
        of_family = [range_ for range_ in ranges if family_of_range(range_) == family] or [_ANY[family]]
        networks = [ipaddress.ip_network(range_, strict=False) for range_ in of_family]
        loopback = ipaddress.ip_network(LOOPBACK["IPv4"])
        answers_on_loopback = any(network.overlaps(loopback) for network in networks) and family == "IPv4"
        if any(network.prefixlen == 0 for network in networks):
            return cls((), answers_on_loopback)
        return cls(tuple(dict.fromkeys(map(str, networks))), answers_on_loopback)

    @property
    def is_any(self) -> bool:
        """Whether node ports are answered on every address of the node."""
        return not self.ranges

    def include(self, address: str) -> bool:
        """Return whether an address of the node is one of them."""
        parsed = ipaddress.ip_address(address)
        return self.is_any or any(parsed in ipaddress.ip_network(range_) for range_ in self.ranges)


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address."""
    return ipaddress.ip_address(address).is_loopback


def names_loopback(texts: Iterable[str]) -> bool:
    """Return whether nodePortAddresses names loopback addresses, and not just ranges that contain them."""
    written = [text for text in texts if text not in (PRIMARY, ALL)]
    return LOCALHOST in written or any(
        ipaddress.ip_network(text, strict=False).network_address.is_loopback for text in written if text != LOCALHOST
    )


def _expanded(text: str, family: Family, node_address: str | None) -> tuple[str, ...]:
    """Return the ranges that an item of nodePortAddresses stands for."""
    if text == PRIMARY:
        # A node without an address of the family is known to kube-proxy by a loopback address, which does not count.
        skipped = node_address is None or is_loopback(node_address)
        return () if skipped else (f"{node_address}/{32 if family == 'IPv4' else 128}",)
    if text == LOCALHOST:
        return tuple(LOOPBACK.values())
    return tuple(_ANY.values()) if text == ALL else (text,)
