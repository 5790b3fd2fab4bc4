"""The shape of an embedded cluster: its nodes, addresses and programs, decided before anything is started."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

POD_CIDR = "10.10.0.0/16"
SERVICE_CIDR = "10.200.1.0/24"
NODE_CIDR = "172.30.0.0/16"
API_PORT = 6443
ETCD_PORT = 2379
WORKERS = 3


@dataclass(frozen=True)
class NodeLayout:
    """One node: its name, its address among the nodes, and the range its pods get addresses from."""

    name: str
    address: str
    pod_cidr: str
    control_plane: bool


@dataclass(frozen=True)
class Layout:
    """All that is fixed about a cluster when it starts."""

    name: str
    kubernetes: str
    proxy_mode: str
    programs: dict[str, str]
    image_archive: str
    nodes: tuple[NodeLayout, ...]
    proxy_origin: str = "the cluster's own"

    @property
    def control_plane(self) -> NodeLayout:
        """The node that etcd and the API server run on."""
        return self.nodes[0]

    @property
    def node_prefix(self) -> int:
        """The prefix length of the network between the nodes."""
        return ipaddress.ip_network(NODE_CIDR).prefixlen

    def write(self, file: Path) -> None:
        """Store for the keeper and for later runs."""
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Layout:
        """Load what ``write`` stored."""
        data: dict[str, Any] = json.loads(file.read_text())
        data["nodes"] = tuple(NodeLayout(**node) for node in data["nodes"])
        return cls(**data)


def node_layouts(cluster: str, workers: int = WORKERS) -> tuple[NodeLayout, ...]:
    """Lay out one control plane and its workers, named and numbered as kind does it.

    Node N has the pod range 10.10.N.0/24, so that the chain names of the walk this suite began with come out the same.
    """
    pods = tuple(ipaddress.ip_network(POD_CIDR).subnets(new_prefix=24))
    addresses = ipaddress.ip_network(NODE_CIDR)
    names = [f"{cluster}-control-plane", f"{cluster}-worker", *(f"{cluster}-worker{n}" for n in range(2, workers + 1))]
    return tuple(
        NodeLayout(name, str(addresses[index + 2]), str(pods[index]), control_plane=index == 0)
        for index, name in enumerate(names[: workers + 1])
    )
