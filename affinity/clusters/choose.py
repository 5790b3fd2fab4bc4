"""Which cluster a run is on, and its beginning and end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from affinity.clusters.base import Cluster
    from affinity.progress import Progress

PROVIDERS = ("embedded",)


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


def provider_of(options: ClusterOptions) -> str:
    """Return the provider that the options mean; raises UsageError naming the alternatives."""
    if options.cluster == "auto":
        return "embedded"
    if options.cluster not in PROVIDERS:
        raise UsageError(f"--cluster {options.cluster}: there are auto, {', '.join(PROVIDERS)}")
    return options.cluster


@contextlib.contextmanager
def open_cluster(options: ClusterOptions, progress: Progress) -> Iterator[Cluster]:
    """Start the cluster, or find the kept one of that name; take it down at the end unless it is to be kept.

    Raises UsageError, PreflightError, BinaryError or ClusterError. Ends with this process even if that is killed.
    """
    provider_of(options)
    from affinity.clusters.embedded.provider import open_embedded

    with open_embedded(options, progress) as cluster:
        yield cluster
