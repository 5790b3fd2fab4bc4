"""The user's own program on every node: which file, its process, and what it finds in its environment.

It stands for the agent of a dataplane, and runs in place of kube-proxy, of the suite's CNI configuration, or of both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.addresses import ranges_of
from session_affinity.clusters.embedded.layout import API_PORT, CLUSTER_DNS, ROLES
from session_affinity.clusters.embedded.process import Gate, Process
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from session_affinity.clusters.embedded.layout import Layout, NodeLayout
    from session_affinity.clusters.embedded.state import StateDirectory

NAME: Final = "node-program"
"""The name of its process, of its log, and of its kubeconfig."""
USER: Final = "session-affinity:node-program"
GROUP: Final = "session-affinity:node-programs"
"""The user and the group of its kubeconfig; ``ROLE_BINDING`` gives the group its rights."""
ROLE_BINDING: Final = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": GROUP},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP}],
}
CNI_CONFIGURATION: Final = Path("/etc/cni/net.d")
CNI_PLUGINS: Final = Path("/opt/cni/bin")
BPF: Final = Path("/sys/fs/bpf")
LINK: Final = "eth0"
"""The node's link to the other nodes."""


def programs_of(path: Path) -> dict[str, str]:
    """Return the program of each role: the file itself, or the files of a directory that have the roles' names.

    Raises UsageError when one is not an executable file.
    """
    files = {role: (path / role if path.is_dir() else path) for role in ROLES}
    for file in dict.fromkeys(files.values()):
        if not (file.is_file() and os.access(file, os.X_OK)):
            raise UsageError(
                f"--node-program {path}: {file} is not an executable file",
                next_step="give a program, or a script that begins with #! and is executable (chmod +x); a directory"
                f" has two of them, {' and '.join(ROLES)}",
            )
    return {role: str(file.resolve()) for role, file in files.items()}


def process(layout: Layout, node: NodeLayout, state: StateDirectory, cgroup_v2: Path | None) -> Process:
    """Return the process of the node's program; it starts when the Node objects and its rights exist."""
    return Process(
        NAME,
        (layout.node_programs[node.role],),
        after=(Gate("file", str(state.objects_created)),),
        restart=True,
        environment=tuple(environment(layout, node, state, cgroup_v2).items()),
    )


def environment(layout: Layout, node: NodeLayout, state: StateDirectory, cgroup_v2: Path | None) -> dict[str, str]:
    """Return its environment variables beside PATH, HOME and LANG; docs/bring-your-own-dataplane.md explains each."""
    cni = {} if layout.cni else {"CNI_CONF_DIR": str(CNI_CONFIGURATION), "CNI_BIN_DIR": str(CNI_PLUGINS)}
    return {
        "CLUSTER_NAME": layout.name,
        "NODE_NAME": node.name,
        "NODE_ROLE": node.role,
        "NODE_IP": node.address,
        "NODE_IPS": ",".join(node.addresses),
        "NODE_LINK": LINK,
        "POD_CIDR": node.pod_cidrs[0],
        "POD_CIDRS": ",".join(node.pod_cidrs),
        "CLUSTER_CIDR": layout.pod_range,
        "SERVICE_CIDR": layout.service_range,
        "CLUSTER_DNS": ",".join(layout.service_addresses(CLUSTER_DNS)),
        "NODE_CIDRS": ",".join(ranges.nodes for ranges in ranges_of(layout.ip_family)),
        "KUBECONFIG": str(state.node(node.name) / f"{NAME}.kubeconfig"),
        "KUBERNETES_SERVICE_HOST": layout.control_plane.address,
        "KUBERNETES_SERVICE_PORT": str(API_PORT),
        **cni,
        "CNI_PLUGINS_DIR": str(Path(layout.programs["ptp"]).parent),
        "BPF_DIR": str(BPF),
        "CGROUP_V2_DIR": str(cgroup_v2 or ""),
    }
