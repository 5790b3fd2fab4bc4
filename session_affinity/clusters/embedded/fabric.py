"""The network between the nodes: a bridge in the cluster's network namespace, and routes instead of an overlay.

Nothing of it is in the host's network namespace: addresses cannot collide with the host's, and rules of the host do not
apply to it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pyroute2 import IPRoute

from session_affinity.clusters.addresses import RANGES, ranges_of
from session_affinity.dataplane.model import family_of, family_of_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.clusters.embedded.layout import Layout, NodeLayout

BRIDGE = "fabric"
_NODE_LINK = "eth0"
_SOCKET_FAMILY = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_ADDRESS_FLAGS = {"IPv4": 0, "IPv6": 0x02}
"""IFA_F_NODAD for IPv6, so that an address is usable at once; the network has no other hosts to detect."""


def connect_nodes(pids: Mapping[str, int]) -> None:
    """Create the bridge in this network namespace and a veth link to each node, given by name and process ID."""
    with IPRoute() as ip:
        ip.link("add", ifname=BRIDGE, kind="bridge")
        bridge = ip.link_lookup(ifname=BRIDGE)[0]
        for number, pid in enumerate(pids.values()):
            port = f"node{number}"
            ip.link("add", ifname=port, kind="veth", peer={"ifname": _NODE_LINK, "net_ns_pid": pid})
            index = ip.link_lookup(ifname=port)[0]
            ip.link("set", index=index, master=bridge, state="up")
        ip.link("set", index=bridge, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")


def configure_node(node: NodeLayout, layout: Layout) -> None:
    """Add the node's addresses and the routes to Services and, with the suite's CNI, to other nodes' pods.

    The route to the Service range replaces a default route: a packet that the node itself sends to a cluster IP needs a
    route and a source address before DNAT in the OUTPUT chain.
    """
    with IPRoute() as ip:
        link = ip.link_lookup(ifname=_NODE_LINK)[0]
        ip.link("set", index=link, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")
        for address in node.addresses:
            family = family_of(address)
            ip.addr(
                "add",
                index=link,
                family=_SOCKET_FAMILY[family],
                address=address,
                prefixlen=RANGES[family].nodes_prefix,
                flags=_ADDRESS_FLAGS[family],
            )
        for ranges in ranges_of(layout.ip_family):
            services = _SOCKET_FAMILY[family_of_range(ranges.services)]
            ip.route("add", family=services, dst=ranges.services, oif=link)
        for other in layout.nodes:
            if layout.cni and other != node:
                for pods, gateway in zip(other.pod_cidrs, other.addresses, strict=True):
                    ip.route("add", family=_SOCKET_FAMILY[family_of(gateway)], dst=pods, gateway=gateway)
