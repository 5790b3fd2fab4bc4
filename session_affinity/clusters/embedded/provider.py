"""Opens the embedded cluster of a run: a running cluster of the same name, or a new one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import Progress

_PROGRAM_UNDER_TEST = "kube-proxy"


@contextlib.contextmanager
def open_embedded(options: ClusterOptions, progress: Progress) -> Iterator[EmbeddedCluster]:
    """Yield a running cluster that matches the options; see ``choice.open_cluster``."""
    kept = clusters.find(options.name)
    if kept is not None and _usable(kept, progress):
        _require_same(kept, options)
        progress.note(
            f"cluster {kept.name}: found running, Kubernetes {kept.layout.kubernetes}; it is not taken down at the end"
        )
        yield kept
        return
    # Imported here because only a new cluster needs these modules, and importing them takes time.
    from session_affinity.clusters.embedded.prepare import ClusterRequest, prepare

    request = ClusterRequest(
        name=options.name,
        kubernetes=options.kubernetes or "",
        proxy_mode=options.proxy_mode or "iptables",
        kube_proxy=options.kube_proxy,
        ip_family=options.ip_family or DEFAULT_IP_FAMILY,
        deadline_scale=options.deadlines.scale,
    )
    prepared = prepare(request, progress)
    with clusters.EphemeralCluster(prepared.layout, progress, facts=prepared.facts) as ephemeral:
        if options.keep:
            ephemeral.keep()
        yield ephemeral.cluster
        if not options.keep:
            progress.note(f"cluster {options.name}: taking it down")


def _usable(kept: EmbeddedCluster, progress: Progress) -> bool:
    """Whether a running cluster can be used: only kube-proxies may be missing, because the claims report those."""
    missing = kept.missing_processes()
    for process in missing:
        progress.note(f"cluster {kept.name}: not running: {process}")
    if all(_PROGRAM_UNDER_TEST in process for process in missing):
        return True
    progress.note(f"cluster {kept.name}: replacing it with a new cluster")
    clusters.down(kept.name)
    return False


def _require_same(kept: EmbeddedCluster, options: ClusterOptions) -> None:
    """Raise UsageError when a running cluster differs from the options."""
    options_and_layout = {
        "--kubernetes": (options.kubernetes and versions.resolve(options.kubernetes).release, kept.layout.kubernetes),
        "--proxy-mode": (options.proxy_mode, kept.layout.proxy_mode),
        "--ip-family": (options.ip_family, kept.layout.ip_family),
        "--kube-proxy": (options.kube_proxy and str(options.kube_proxy.resolve()), kept.layout.programs["kube-proxy"]),
    }
    for option, (wanted, actual) in options_and_layout.items():
        if wanted and wanted != actual:
            raise UsageError(
                f"{option} {wanted}: the running cluster {kept.name} has {actual}",
                next_step=f"take it down (session-affinity cluster down --name {kept.name})"
                " or use another --cluster-name",
            )
