"""What the command line says about the cluster of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.deadlines import DEFAULTS, Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

PROVIDERS_OF: Final = {
    "--kube-proxy": ("embedded",),
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
    "--nodes": ("external",),
    "--node-selector": ("external",),
    "--toleration": ("external",),
    "--allow-missing-nodes": ("external",),
    "--pull-secret": ("external",),
    "--kubernetes": ("embedded", "kind"),
    "--proxy-mode": ("embedded", "kind"),
    "--ip-family": ("embedded", "kind"),
}
"""The providers that take each option; an external cluster has its own settings, which are read from it."""


def _not_failed() -> bool:
    return False


@dataclass(frozen=True)
class ClusterOptions:
    """The options of the command line that are about the cluster; empty or None where one is not given.

    ``failed`` returns at the end of the run whether to keep what explains a failure, below the directory ``results``.
    """

    cluster: str = "auto"
    kubernetes: str | None = None
    proxy_mode: str | None = None
    ip_family: str | None = None
    kube_proxy: Path | None = None
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
    nodes: str | None = None
    node_selector: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    allow_missing_nodes: int = 0
    pull_secrets: tuple[str, ...] = ()
    failed: Callable[[], bool] = _not_failed
    results: Path = Path("results")

    @property
    def given(self) -> tuple[str, ...]:
        """The options of ``PROVIDERS_OF`` that are given."""
        values = {
            "--kube-proxy": self.kube_proxy,
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
            "--nodes": self.nodes,
            "--node-selector": self.node_selector,
            "--toleration": self.tolerations,
            "--allow-missing-nodes": self.allow_missing_nodes,
            "--pull-secret": self.pull_secrets,
            "--kubernetes": self.kubernetes,
            "--proxy-mode": self.proxy_mode,
            "--ip-family": self.ip_family,
        }
        return tuple(name for name, value in values.items() if value)
