"""Which cluster a run is on, and its beginning and end."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from affinity.clusters.base import Cluster
    from affinity.progress import Progress

    Opener = Callable[["ClusterOptions", Progress], AbstractContextManager[Cluster]]

PROVIDERS = ("embedded", "kind", "external")


@dataclass(frozen=True)
class ClusterOptions:
    """What the command line says about the cluster; empty or None where it says nothing."""

    cluster: str = "auto"
    kubernetes: str | None = None
    proxy_mode: str | None = None
    kube_proxy: Path | None = None
    keep: bool = False
    name: str = "myk8s"
    deadline_scale: float = 1.0
    node_image: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    node_access: str = "none"
    image_registry: str | None = None


def provider_of(options: ClusterOptions) -> str:
    """Return the provider that the options mean; raises UsageError naming the alternatives."""
    if options.cluster == "auto":
        return "external" if options.kubeconfig else "embedded"
    if options.cluster not in PROVIDERS:
        raise UsageError(f"--cluster {options.cluster}: there are auto, {', '.join(PROVIDERS)}")
    return options.cluster


@contextlib.contextmanager
def open_cluster(options: ClusterOptions, progress: Progress) -> Iterator[Cluster]:
    """Start the cluster, or find the kept one of that name; take it down at the end unless it is to be kept.

    Raises UsageError, PreflightError, BinaryError or ClusterError. Ends with this process even if that is killed.
    """
    with _opener(provider_of(options))(options, progress) as cluster:
        yield cluster


def _opener(provider: str) -> Opener:
    module = importlib.import_module(f"affinity.clusters.{provider}.provider")
    opener: Opener = getattr(module, f"open_{provider}")
    return opener
