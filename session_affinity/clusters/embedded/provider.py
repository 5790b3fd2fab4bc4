"""The embedded cluster as a run of the suite uses it: new, or the kept one of the same name."""

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

_UNDER_TEST = "kube-proxy"


@contextlib.contextmanager
def open_embedded(options: ClusterOptions, progress: Progress) -> Iterator[EmbeddedCluster]:
    """Yield a running cluster that fits the options (see ``choice.open_cluster``)."""
    kept = clusters.find(options.name)
    if kept is not None and _usable(kept, progress):
        _require_same(kept, options)
        progress.note(f"cluster {kept.name}: found running, Kubernetes {kept.layout.kubernetes}, left running")
        yield kept
        return
    # Only a cluster that has to be started needs these; a kept one is found without.
    from session_affinity.clusters.embedded.prepare import Request, prepare

    request = Request(
        name=options.name,
        kubernetes=options.kubernetes or "",
        proxy_mode=options.proxy_mode or "iptables",
        kube_proxy=options.kube_proxy,
        ip_family=options.ip_family or DEFAULT_IP_FAMILY,
        deadline_scale=options.deadlines.scale,
    )
    prepared = prepare(request, progress)
    with clusters.Starting(prepared.layout, progress, facts=prepared.facts) as starting:
        if options.keep:
            starting.keep()
        yield starting.cluster
        if not options.keep:
            progress.note(f"cluster {options.name}: taking it down")


def _usable(kept: EmbeddedCluster, progress: Progress) -> bool:
    """Whether a running cluster can be judged; a kube-proxy that is gone is for the claims to find, not to mend."""
    dead = kept.dead()
    for what in dead:
        progress.note(f"cluster {kept.name}: not running: {what}")
    if all(_UNDER_TEST in what for what in dead):
        return True
    progress.note(f"cluster {kept.name}: started anew")
    clusters.down(kept.name)
    return False


def _require_same(kept: EmbeddedCluster, options: ClusterOptions) -> None:
    """Raise UsageError when a kept cluster is not what the options ask for."""
    asked = {
        "--kubernetes": (options.kubernetes and versions.resolve(options.kubernetes).release, kept.layout.kubernetes),
        "--proxy-mode": (options.proxy_mode, kept.layout.proxy_mode),
        "--ip-family": (options.ip_family, kept.layout.ip_family),
        "--kube-proxy": (options.kube_proxy and str(options.kube_proxy.resolve()), kept.layout.programs["kube-proxy"]),
    }
    for option, (wanted, there) in asked.items():
        if wanted and wanted != there:
            raise UsageError(
                f"{option} {wanted}: the running cluster {kept.name} has {there}",
                next_step=f"take it down (session-affinity cluster down --name {kept.name})"
                " or use another --cluster-name",
            )
