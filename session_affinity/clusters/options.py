"""What the command line says about the cluster of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

PROVIDERS_OF: Final = {
    "--kube-proxy": ("embedded",),
    "--no-kube-proxy": ("embedded",),
    "--no-cni": ("embedded",),
    "--node-program": ("embedded",),
    "--proxy-config": ("embedded",),
    "--iptables": ("embedded",),
    "--node-image": ("kind",),
    "--kubeconfig": ("external",),
    "--context": ("external",),
    "--node-access": ("external",),
    "--image-registry": ("external",),
    "--image-tags": ("external",),
    "--namespace": ("external",),
    "--namespace-label": ("external",),
    "--namespace-annotation": ("external",),
    "--agent-namespace": ("external",),
    "--agent-image": ("external",),
    "--nodes": ("external",),
    "--node-selector": ("external",),
    "--toleration": ("external",),
    "--allow-missing-nodes": ("external",),
    "--pull-secret": ("external",),
    "--outside-client": ("external",),
    "--kubernetes": ("embedded", "kind"),
    "--proxy-mode": ("embedded", "kind"),
    "--ip-family": ("embedded", "kind"),
}
"""The providers that take each option; an external cluster has its own settings, which are read from it."""

NO_ACCESS: Final = "nothing runs on the nodes without --node-access agent: claims about nodes cannot be judged here"
"""Why claims about the nodes of an external cluster are not judged."""

LEGACY: Final = "legacy"
IPTABLES_VARIANTS: Final = (LEGACY, "nft")
"""The variants of iptables, by the part of the kernel that keeps the rules, the preferred one first.

legacy (x_tables) keeps a table as one block of memory, nft (nf_tables) translates each rule, and back when it is read.
"""


class DataplaneOptions(Protocol):
    """The options about the dataplane of an embedded cluster."""

    @property
    def proxy_mode(self) -> str | None:
        """The mode of kube-proxy; None or empty when it is not given."""

    @property
    def kube_proxy(self) -> Path | None:
        """The kube-proxy to run instead of the release's."""

    @property
    def proxy_config(self) -> Path | None:
        """The file with settings of kube-proxy."""

    @property
    def no_kube_proxy(self) -> bool:
        """Whether the nodes run no kube-proxy."""

    @property
    def no_cni(self) -> bool:
        """Whether the nodes get no CNI configuration of the suite's."""

    @property
    def node_program(self) -> Path | None:
        """The user's program of every node."""


def require_dataplane(options: DataplaneOptions) -> None:
    """Raise UsageError when options about the dataplane contradict each other."""
    if options.no_kube_proxy and (given := "--kube-proxy" if options.kube_proxy else options.proxy_mode):
        option = given if given.startswith("--") else f"--proxy-mode {given}"
        raise UsageError(
            f"{option} says nothing with --no-kube-proxy: no node runs one", next_step="leave out one of the two"
        )
    if options.no_kube_proxy and options.proxy_config:
        raise UsageError(
            "--proxy-config says nothing with --no-kube-proxy: no node runs one", next_step="leave out one of the two"
        )
    if options.no_cni and options.node_program is None:
        raise UsageError(
            "--no-cni without --node-program: no node would become Ready, as nothing writes its CNI configuration",
            next_step="name the program that does: --node-program FILE",
        )


def _not_failed() -> bool:
    return False


@dataclass(frozen=True)
class ClusterOptions:
    """The options of the command line that are about the cluster; empty or None where one is not given.

    ``sampled_from`` is the number of nodes that ``nodes`` are a sample of; 0 where they are none.
    ``failed`` returns at the end of the run whether to keep what explains a failure, below the directory ``results``.
    """

    cluster: str = "auto"
    kubernetes: str | None = None
    proxy_mode: str | None = None
    ip_family: str | None = None
    kube_proxy: Path | None = None
    no_kube_proxy: bool = False
    no_cni: bool = False
    node_program: Path | None = None
    proxy_config: Path | None = None
    iptables: str | None = None
    keep: bool = False
    name: str = "myk8s"
    deadlines: Deadlines = DEFAULTS
    node_image: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    node_access: str = "none"
    image_registry: str | None = None
    image_tags: bool = False
    namespace: str | None = None
    namespace_labels: tuple[str, ...] = ()
    namespace_annotations: tuple[str, ...] = ()
    agent_namespace: str | None = None
    agent_image: str | None = None
    nodes: str | None = None
    sampled_from: int = 0
    node_selector: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    allow_missing_nodes: int = 0
    pull_secrets: tuple[str, ...] = ()
    outside_client: str | None = None
    failed: Callable[[], bool] = _not_failed
    results: Path = Path("results")

    @property
    def is_external(self) -> bool:
        """Whether they select a cluster that runs already."""
        return self.cluster == "external" or (self.cluster == "auto" and self.kubeconfig is not None)

    @property
    def lacks_node_access(self) -> bool:
        """Whether they rule out claims about nodes."""
        return self.is_external and self.node_access == "none"

    @property
    def given(self) -> tuple[str, ...]:
        """The options of ``PROVIDERS_OF`` that are given."""
        values = {
            "--kube-proxy": self.kube_proxy,
            "--no-kube-proxy": self.no_kube_proxy,
            "--no-cni": self.no_cni,
            "--node-program": self.node_program,
            "--proxy-config": self.proxy_config,
            "--iptables": self.iptables,
            "--node-image": self.node_image,
            "--kubeconfig": self.kubeconfig,
            "--context": self.context,
            "--node-access": self.node_access != "none",
            "--image-registry": self.image_registry,
            "--image-tags": self.image_tags,
            "--namespace": self.namespace,
            "--namespace-label": self.namespace_labels,
            "--namespace-annotation": self.namespace_annotations,
            "--agent-namespace": self.agent_namespace,
            "--agent-image": self.agent_image,
            "--nodes": self.nodes,
            "--node-selector": self.node_selector,
            "--toleration": self.tolerations,
            "--allow-missing-nodes": self.allow_missing_nodes,
            "--pull-secret": self.pull_secrets,
            "--outside-client": self.outside_client,
            "--kubernetes": self.kubernetes,
            "--proxy-mode": self.proxy_mode,
            "--ip-family": self.ip_family,
        }
        return tuple(name for name, value in values.items() if value)
