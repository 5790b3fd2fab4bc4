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
            "--kubernetes": self.kubernetes,
            "--proxy-mode": self.proxy_mode,
            "--ip-family": self.ip_family,
        }
        return tuple(name for name, value in values.items() if value)
