"""The shape of an embedded cluster: its nodes, addresses and programs, decided before anything is started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, ranges_of
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

API_PORT = 6443
ETCD_PORT = 2379
WORKERS = 3


@dataclass(frozen=True)
class NodeLayout:
    """One node: its name, its addresses among the nodes, and the ranges its pods get addresses from.

    There is one of each for every IP family of the cluster, that of the primary family first.
    """

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    control_plane: bool

    @property
    def address(self) -> str:
        """The address of the primary family."""
        return self.addresses[0]


@dataclass(frozen=True)
class Layout:
    """What is fixed about a cluster when it starts. ``deadline_scale`` multiplies its deadlines."""

    name: str
    kubernetes: str
    proxy_mode: str
    programs: dict[str, str]
    image_archive: str
    nodes: tuple[NodeLayout, ...]
    proxy_origin: str = "the cluster's own"
    ip_family: str = DEFAULT_IP_FAMILY
    deadline_scale: float = 1.0

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of this cluster."""
        return DEFAULTS.scaled(self.deadline_scale)

    @property
    def control_plane(self) -> NodeLayout:
        """The node that etcd and the API server run on."""
        return self.nodes[0]

    @property
    def pod_range(self) -> str:
        """The range of all pods, one a family with a comma between, as Kubernetes takes it."""
        return ",".join(ranges.pods for ranges in ranges_of(self.ip_family))

    @property
    def service_range(self) -> str:
        """The range of cluster IPs, in the same form."""
        return ",".join(ranges.services for ranges in ranges_of(self.ip_family))

    def service_addresses(self, number: int) -> tuple[str, ...]:
        """Return one cluster IP of each family, by its place in the range."""
        return tuple(ranges.service_address(number) for ranges in ranges_of(self.ip_family))

    def write(self, file: Path) -> None:
        """Store for the keeper and for later runs."""
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Layout:
        """Load what ``write`` stored; raises ClusterError when another version of the suite did."""
        try:
            data: dict[str, Any] = json.loads(file.read_text())
            return cls(**{**data, "nodes": tuple(_node(node) for node in data["nodes"])})
        except (TypeError, LookupError, ValueError) as error:
            raise ClusterError(
                f"{file}: not written by this version of the suite ({error})",
                next_step=f"take it down: session-affinity cluster down --name {file.parent.name}",
            ) from error


def _node(data: dict[str, Any]) -> NodeLayout:
    lists = {name: tuple(data[name]) for name in ("addresses", "pod_cidrs")}
    return NodeLayout(**{**data, **lists})


def node_layouts(cluster: str, workers: int = WORKERS, ip_family: str = DEFAULT_IP_FAMILY) -> tuple[NodeLayout, ...]:
    """Lay out one control plane and its workers, named and numbered as kind does it.

    Node N has the pod range 10.10.N.0/24, so that the chain names of the walk this suite began with come out the same.
    """
    ranges = ranges_of(ip_family)
    names = [f"{cluster}-control-plane", f"{cluster}-worker", *(f"{cluster}-worker{n}" for n in range(2, workers + 1))]
    return tuple(
        NodeLayout(
            name,
            tuple(one.node_address(number) for one in ranges),
            tuple(one.pods_of_node(number) for one in ranges),
            control_plane=number == 0,
        )
        for number, name in enumerate(names[: workers + 1])
    )
