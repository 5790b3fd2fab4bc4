"""The layout of an embedded cluster: nodes, addresses and programs, fixed before anything is started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, ranges_of
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError

API_PORT = 6443
ETCD_PORT = 2379
CLUSTER_DNS = 10
"""The index of the DNS Service's cluster IP in the Service range."""
API_SERVICE = 1
"""The index of the cluster IP of Service default/kubernetes in the Service range."""
WORKERS = 3
CONTROL_PLANE = "control-plane"
WORKER = "worker"
ROLES = (CONTROL_PLANE, WORKER)
"""The roles of nodes; a directory of node programs has a file for each."""


@dataclass(frozen=True)
class NodeLayout:
    """One node: its name, its addresses and its pod CIDRs.

    There is one address and one pod CIDR per IP family of the cluster, those of the primary family first.
    """

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    control_plane: bool

    @property
    def address(self) -> str:
        """The node's address of the primary family."""
        return self.addresses[0]

    @property
    def role(self) -> str:
        """``control-plane`` or ``worker``."""
        return CONTROL_PLANE if self.control_plane else WORKER


@dataclass(frozen=True)
class Layout:
    """Everything about a cluster that is fixed at its start; ``programs`` are paths by program name.

    ``proxy_mode`` is ``NO_KUBE_PROXY`` in a cluster without kube-proxy. ``cni`` says whether the nodes have the suite's
    CNI configuration and routes to each other's pods. ``node_programs`` are the paths of the user's program by the role
    of the node that it runs on, ``control-plane`` and ``worker``; empty when there is none. ``proxy_settings`` are
    merged one after the other over kube-proxy's configuration, by node. ``iptables`` is the variant of iptables on the
    nodes, empty for the machine's own. ``policy_file`` is for the RBAC rules that API servers of this version create
    at their first start (see ``bootstrap_policy``); where ``policy_is_known`` it has them.
    """

    name: str
    kubernetes: str
    proxy_mode: str
    programs: dict[str, str]
    image_archive: str
    nodes: tuple[NodeLayout, ...]
    ip_family: str = DEFAULT_IP_FAMILY
    deadline_scale: float = 1.0
    cni: bool = True
    node_programs: dict[str, str] = field(default_factory=dict)
    proxy_settings: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    iptables: str = ""
    policy_file: str = ""
    policy_is_known: bool = False

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of this cluster, multiplied by ``deadline_scale``."""
        return DEFAULTS.scaled(self.deadline_scale)

    @property
    def control_plane(self) -> NodeLayout:
        """The node that etcd and the API server run on."""
        return self.nodes[0]

    @property
    def has_kube_proxy(self) -> bool:
        """Whether the nodes run kube-proxy."""
        return self.proxy_mode != NO_KUBE_PROXY

    @property
    def has_own_kube_proxy(self) -> bool:
        """Whether the nodes run a kube-proxy that is not the release's: its release may be another one."""
        kube_proxy = self.programs.get("kube-proxy")
        return kube_proxy is not None and Path(kube_proxy).parent != Path(self.programs["kubelet"]).parent

    @property
    def pod_range(self) -> str:
        """The cluster CIDR: one range per family, comma-separated, as Kubernetes options expect it."""
        return ",".join(ranges.pods for ranges in ranges_of(self.ip_family))

    @property
    def service_range(self) -> str:
        """The Service CIDR, in the same form."""
        return ",".join(ranges.services for ranges in ranges_of(self.ip_family))

    def service_addresses(self, index: int) -> tuple[str, ...]:
        """Return the cluster IP of each family at this index of the Service range."""
        return tuple(ranges.service_address(index) for ranges in ranges_of(self.ip_family))

    def write(self, file: Path) -> None:
        """Store the layout for the supervisor and for later runs."""
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Layout:
        """Return the layout in a file; raises ClusterError when another version of the suite wrote it."""
        try:
            data: dict[str, Any] = json.loads(file.read_text())
            settings = {node: tuple(parts) for node, parts in data["proxy_settings"].items()}
            nodes = tuple(_node(node) for node in data["nodes"])
            return cls(**{**data, "nodes": nodes, "proxy_settings": settings})
        except (TypeError, LookupError, ValueError) as error:
            raise ClusterError(
                f"{file}: not written by this version of the suite ({error})",
                next_step=f"take it down: session-affinity cluster down --name {file.parent.name}",
            ) from error


def _node(data: dict[str, Any]) -> NodeLayout:
    lists = {name: tuple(data[name]) for name in ("addresses", "pod_cidrs")}
    return NodeLayout(**{**data, **lists})


def node_layouts(cluster: str, workers: int = WORKERS, ip_family: str = DEFAULT_IP_FAMILY) -> tuple[NodeLayout, ...]:
    """Return one control plane and its workers, named as kind names them.

    Node N has the IPv4 pod CIDR 10.10.N.0/24. kube-proxy derives chain names from endpoint addresses, so fixed ranges
    make chain names the same in every cluster.
    """
    ranges = ranges_of(ip_family)
    names = [f"{cluster}-control-plane", f"{cluster}-worker", *(f"{cluster}-worker{n}" for n in range(2, workers + 1))]
    return tuple(
        NodeLayout(
            name,
            tuple(family_ranges.node_address(number) for family_ranges in ranges),
            tuple(family_ranges.pods_of_node(number) for family_ranges in ranges),
            control_plane=number == 0,
        )
        for number, name in enumerate(names[: workers + 1])
    )
