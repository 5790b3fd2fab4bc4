"""What every cluster offers, whoever provides it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from session_affinity.clusters.images import by_tag, rename_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from session_affinity.agents.fleet import Fleet
    from session_affinity.clusters.outside import Outside
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.recognition import Recognition
    from session_affinity.nodes.node import Node


class OwnCluster:
    """What holds for every cluster that the suite made: it has the manifests' nodes, and nobody else uses it."""

    is_ours: bool = True
    context: str | None = None
    namespace: str = "default"
    kube_proxy_start: tuple[str, ...] = ()
    missing_nodes: Mapping[str, str] = MappingProxyType({})
    recognition: Recognition | None = None
    annotations: Mapping[str, str] = MappingProxyType({})
    fleet: Fleet | None = None
    ends_with_run: bool = False

    def image_name(self, image: str) -> str:
        """Return the name under which the nodes have an image that the manifests pin by digest."""
        return by_tag(image)

    def adapt(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a sample pod with its images as the nodes have them (see ``Cluster``)."""
        return {**pod, "spec": rename_images(pod["spec"], self.image_name)}


class Cluster(Protocol):
    """A running cluster. Addresses, versions and CIDRs are read from its API, never derived from names."""

    @property
    def name(self) -> str:
        """The name that ``--cluster-name`` or the kubeconfig's context gives it."""

    @property
    def provider(self) -> str:
        """``embedded``, ``kind`` or ``external``."""

    @property
    def is_ours(self) -> bool:
        """Whether the suite created the cluster, and may therefore change its nodes."""

    @property
    def ends_with_run(self) -> bool:
        """Whether the cluster is removed at the end of the run, so that nothing in it has to be removed before."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that reaches the cluster from here; read only."""

    @property
    def context(self) -> str | None:
        """The context of the kubeconfig that leads to the cluster; None for its current one."""

    @property
    def namespace(self) -> str:
        """The one namespace that the run makes its pods and Services in."""

    def adapt(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a sample pod of the manifests as this cluster runs it: on which node, images from where."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name; empty where this provider gives no access to them."""

    @property
    def missing_nodes(self) -> Mapping[str, str]:
        """The nodes that claims about every node are about and that cannot be read, each with the reason."""

    @property
    def fleet(self) -> Fleet | None:
        """The agents of the nodes where they can judge; None where nodes are read instead."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of everything that the run creates; empty on a cluster that the suite started."""

    @property
    def proxy_configs(self) -> ProxyConfigs:
        """The settings of each node's kube-proxy and their source; raises ClusterError when they cannot be read."""

    @property
    def recognition(self) -> Recognition | None:
        """The programs that serve Services, as the API shows them; None where nobody has looked yet."""

    @property
    def kube_proxy_start(self) -> tuple[str, ...]:
        """The command by which a node starts its kube-proxy after a kill; empty where that happens by itself."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What the provider knows beside the API, for display only: where images and binaries came from, timings."""

    def outside(self) -> AbstractContextManager[Outside]:
        """Return a client outside the cluster, for the time of the block, or none with the reason.

        Raises ClusterError, UsageError.
        """

    def dataplane_log(self, node: str) -> str:
        """Return the end of what kube-proxy on a node logged; raises ClusterError saying why it is not to be had."""
