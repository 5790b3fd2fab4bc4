"""Opens the embedded cluster of a run: a running cluster of the same name, or a new one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded import node_program, proxy_settings
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import Progress

_PROGRAMS_UNDER_TEST = ("kube-proxy", node_program.NAME)


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
        proxy_mode=options.proxy_mode,
        kube_proxy=options.kube_proxy,
        no_kube_proxy=options.no_kube_proxy,
        no_cni=options.no_cni,
        node_program=options.node_program,
        proxy_config=options.proxy_config,
        iptables=options.iptables,
        ip_family=options.ip_family or DEFAULT_IP_FAMILY,
        deadline_scale=options.deadlines.scale,
    )
    prepared = prepare(request, progress)
    with clusters.EphemeralCluster(prepared.layout, progress, facts=prepared.facts) as ephemeral:
        if options.keep:
            ephemeral.keep()
        yield replace(ephemeral.cluster, ends_with_run=not options.keep)
        if not options.keep:
            progress.note(f"cluster {options.name}: taking it down")


def _usable(kept: EmbeddedCluster, progress: Progress) -> bool:
    """Whether a running cluster can be used: only what is judged may be missing, because the claims report that."""
    missing = kept.missing_processes()
    for process in missing:
        progress.note(f"cluster {kept.name}: not running: {process}")
    if all(any(f" {program} " in process for program in _PROGRAMS_UNDER_TEST) for process in missing):
        return True
    progress.note(f"cluster {kept.name}: replacing it with a new cluster")
    clusters.down(kept.name)
    return False


def _require_same(kept: EmbeddedCluster, options: ClusterOptions) -> None:
    """Raise UsageError when a running cluster differs from the options that are given."""
    layout = kept.layout
    programs = node_program.programs_of(options.node_program) if options.node_program else {}
    options_and_layout = {
        "--no-kube-proxy": (options.no_kube_proxy and "given", "a kube-proxy" if layout.has_kube_proxy else "given"),
        "--no-cni": (options.no_cni and "given", "the suite's CNI configuration" if layout.cni else "given"),
        "--node-program": (_joined(programs), _joined(layout.node_programs) or "none"),
        "--kubernetes": (options.kubernetes and versions.resolve(options.kubernetes).release, layout.kubernetes),
        "--proxy-mode": (options.proxy_mode, layout.proxy_mode),
        "--ip-family": (options.ip_family, layout.ip_family),
        "--iptables": (options.iptables, layout.iptables or "the machine's own"),
        "--kube-proxy": (
            options.kube_proxy and str(options.kube_proxy.resolve()),
            layout.programs.get("kube-proxy", "none"),
        ),
    }
    for option, (wanted, actual) in options_and_layout.items():
        if wanted and wanted != actual:
            raise UsageError(
                f"{option}{'' if wanted == 'given' else f' {wanted}'}: the running cluster {kept.name} has {actual}",
                next_step=f"take it down (session-affinity cluster down --name {kept.name})"
                " or use another --cluster-name",
            )
    if options.proxy_config is not None:
        _require_same_settings(kept, options.proxy_config)


def _require_same_settings(kept: EmbeddedCluster, file: Path) -> None:
    layout = kept.layout
    names = [node.name for node in layout.nodes]
    if proxy_settings.read(file, layout.name, names, layout.proxy_mode) != layout.proxy_settings:
        raise UsageError(
            f"--proxy-config {file}: the kube-proxies of the running cluster {kept.name} have other settings",
            next_step=f"take it down (session-affinity cluster down --name {kept.name}) or use another --cluster-name",
        )


def _joined(programs: Mapping[str, str]) -> str:
    return " and ".join(dict.fromkeys(programs.values()))
