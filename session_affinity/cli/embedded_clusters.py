"""What ``session-affinity cluster`` does with embedded clusters.

Every cluster is one tree of processes in namespaces of its own: nothing of it is visible in the host's network, and
nothing stays when it is taken down.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import click

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.images.load import load
from session_affinity.clusters.embedded.node_program import programs_of
from session_affinity.clusters.embedded.prepare import ClusterRequest, prepare, proxy_settings_of, resolve
from session_affinity.clusters.embedded.state import cluster_names
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY
from session_affinity.errors import ClusterError, UsageError
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def up(request: ClusterRequest) -> int:
    """Start a cluster unless it runs; one that is damaged is replaced."""
    release = resolve(request)
    progress = Progress()
    running = clusters.find(request.name)
    if running is not None:
        dead = running.missing_processes()
        if not dead:
            _require_alike(running, request, release)
            click.echo(f"cluster {request.name} runs Kubernetes {running.layout.kubernetes}")
            return 0
        progress.note(f"cluster {request.name} is damaged ({'; '.join(dead)}): it is replaced")
        clusters.down(request.name)
    prepared = prepare(request, progress)
    started = clusters.up(prepared.layout, progress, facts=prepared.facts)
    click.echo(f"cluster {started.name} runs Kubernetes {started.layout.kubernetes} ({started.facts['cluster start']})")
    click.echo(f"kubeconfig: {started.kubeconfig}")
    return 0


def status(name: str | None) -> int:
    """Print the state of a cluster, or of all; 1 unless all programs of all of them run."""
    names = [name] if name else cluster_names()
    if not names:
        click.echo("no clusters")
        return 0
    healthy = [_print_status(each) for each in names]
    return 0 if all(healthy) else 1


def kubeconfig(name: str) -> int:
    """Print the path of a cluster's kubeconfig."""
    click.echo(_find(name).kubeconfig)
    return 0


def execute(name: str, node_name: str, command: Sequence[str]) -> int:
    """Run a command in a node's namespaces and cgroup, a shell when there is none; returns its exit code."""
    running = _find(name)
    node = running.nodes.get(node_name)
    if node is None:
        raise UsageError(f"cluster {name} has no node {node_name}; it has {', '.join(running.nodes)}")
    shell = shutil.which("bash") or "/bin/sh"
    ClusterCgroups(name).join(node_name)
    return subprocess.run(node.argv(list(command) or [shell]), check=False).returncode


def load_image(name: str, archive: Path) -> int:
    """Import the images of an archive on every node of a cluster."""
    running = _find(name)
    with Progress().step(f"importing {archive} on {len(running.nodes)} nodes"):
        load(running, archive)
    return 0


def down(names: Sequence[str] | None) -> int:
    """Take clusters down, or remove what is left of dead ones; every cluster of this user for None."""
    for name in cluster_names() if names is None else names:
        click.echo(f"cluster {name}: {'removed' if clusters.down(name) else 'there is none'}")
    return 0


def build(kubernetes: str, *, quiet: bool = False) -> int:
    """Fetch or build the programs and images of a version, and print where they are and where they came from."""
    prepared = prepare(ClusterRequest(kubernetes=kubernetes), Progress(quiet=quiet))
    for name, path in sorted(prepared.layout.programs.items()):
        click.echo(f"{name:28} {path}")
    click.echo(f"{'images':28} {prepared.layout.image_archive}")
    for name, origin in sorted(prepared.facts.items()):
        click.echo(f"{name:28} {origin}")
    return 0


def _require_alike(running: clusters.EmbeddedCluster, request: ClusterRequest, release: str) -> None:
    layout = running.layout
    programs = programs_of(request.node_program) if request.node_program else {}
    have = (
        layout.kubernetes,
        _dataplane(layout.proxy_mode, layout.node_programs, cni=layout.cni),
        layout.ip_family,
        f"{len(layout.nodes) - 1} workers",
    )
    want = (
        release if request.kubernetes else layout.kubernetes,
        _dataplane(request.mode, programs, cni=not request.no_cni),
        request.ip_family,
        f"{request.workers} workers",
    )
    if have != want:
        raise UsageError(
            f"cluster {request.name} runs Kubernetes {', '.join(have)}; requested were {', '.join(want)}",
            next_step=f"take it down first, or use another --name than {request.name}",
        )
    if request.iptables and request.iptables != layout.iptables:
        raise UsageError(
            f"cluster {request.name} has iptables-{layout.iptables or 'none'}; requested was {request.iptables}",
            next_step=f"take it down first, or use another --name than {request.name}",
        )
    if proxy_settings_of(request) != layout.proxy_settings:
        raise UsageError(
            f"cluster {request.name} runs kube-proxies with other settings than"
            f" {request.proxy_config or 'those of the suite'}",
            next_step=f"take it down first, or use another --name than {request.name}",
        )


def _print_status(name: str) -> bool:
    """Print the state of a cluster; return whether all its programs run."""
    try:
        running = clusters.find(name)
    except ClusterError as error:
        click.echo(f"{name}: {error}")
        return False
    if running is None:
        click.echo(f"{name}: not running")
        return False
    dead = running.missing_processes()
    layout = running.layout
    state = f"damaged: {'; '.join(dead)}" if dead else "all programs run"
    dataplane = _dataplane(layout.proxy_mode, layout.node_programs, cni=layout.cni)
    kind = f"Kubernetes {layout.kubernetes}, {dataplane}, {layout.ip_family}, {len(layout.nodes)} nodes"
    click.echo(f"{name}: {kind}, {state}")
    for node in layout.nodes:
        click.echo(f"  {node.name}  {', '.join(node.addresses)}  pods {', '.join(node.pod_cidrs)}")
    click.echo(f"  kubeconfig {running.kubeconfig}")
    click.echo(f"  logs       {running.state.root / 'logs'}")
    return not dead


def _dataplane(proxy_mode: str, node_programs: Mapping[str, str], *, cni: bool) -> str:
    """Return in words what the nodes run."""
    return " and ".join(
        (
            "no kube-proxy" if proxy_mode == NO_KUBE_PROXY else proxy_mode,
            *(() if cni else ("no CNI of the suite",)),
            *dict.fromkeys(node_programs.values()),
        )
    )


def _find(name: str) -> clusters.EmbeddedCluster:
    running = clusters.find(name)
    if running is None:
        others = ", ".join(cluster_names()) or "none"
        raise ClusterError(
            f"no cluster {name} is running (on disk: {others})",
            next_step=f"session-affinity cluster up --name {name}",
        )
    return running
