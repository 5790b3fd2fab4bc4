"""The network between the nodes: one bridge in a namespace of the cluster's own, routes instead of an overlay.

Nothing of it is in the host's network namespace, so no address can collide there and no host rule can cut it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyroute2 import IPRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affinity.clusters.embedded.layout import Layout, NodeLayout

_BRIDGE = "fabric"
_NODE_LINK = "eth0"


def connect_nodes(pids: Mapping[str, int]) -> None:
    """Make the bridge in this network namespace and give the namespace of every node (by process id) a link to it."""
    with IPRoute() as ip:
        ip.link("add", ifname=_BRIDGE, kind="bridge")
        bridge = ip.link_lookup(ifname=_BRIDGE)[0]
        for number, pid in enumerate(pids.values()):
            port = f"node{number}"
            ip.link("add", ifname=port, kind="veth", peer={"ifname": _NODE_LINK, "net_ns_pid": pid})
            index = ip.link_lookup(ifname=port)[0]
            ip.link("set", index=index, master=bridge, state="up")
        ip.link("set", index=bridge, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")


def configure_node(node: NodeLayout, layout: Layout) -> None:
    """Give this network namespace the node's address and the routes to the other nodes' pods."""
    with IPRoute() as ip:
        link = ip.link_lookup(ifname=_NODE_LINK)[0]
        ip.addr("add", index=link, address=node.address, prefixlen=layout.node_prefix)
        ip.link("set", index=link, state="up")
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")
        for other in layout.nodes:
            if other != node:
                ip.route("add", dst=other.pod_cidr, gateway=other.address)
