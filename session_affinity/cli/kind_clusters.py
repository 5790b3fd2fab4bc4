"""What ``session-affinity cluster`` does with kind clusters that runs of the suite left with --keep-cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from session_affinity.clusters.kind import preflight
from session_affinity.clusters.kind.cluster import ClusterLifetime
from session_affinity.clusters.kind.engine import detect
from session_affinity.clusters.kind.state import KindState, cluster_names
from session_affinity.errors import ClusterError
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence


def down(names: Sequence[str] | None) -> int:
    """Delete clusters that the suite made, and what it keeps about them; every such cluster of this user for None."""
    for name in cluster_names() if names is None else names:
        click.echo(f"cluster {name}: {'removed' if _remove(KindState(name)) else 'there is none that the suite made'}")
    return 0


def kubeconfig(name: str) -> int:
    """Print the path of a kept cluster's kubeconfig."""
    state = KindState(name)
    if not state.kubeconfig.exists():
        raise ClusterError(
            f"no kind cluster {name} that the suite keeps (there are: {', '.join(cluster_names()) or 'none'})",
            next_step=f"session-affinity check --cluster kind --keep-cluster --cluster-name {name}",
        )
    click.echo(state.kubeconfig)
    return 0


def node_image() -> int:
    """Print a node image that the engine has, with which a cluster can be started without fetching anything."""
    preflight.require_kind()
    click.echo(preflight.local_image(detect()))
    return 0


def _remove(state: KindState) -> bool:
    record = state.record()
    if record is None:
        return False
    preflight.require_kind()
    engine = detect()
    life = ClusterLifetime(engine, state, Progress())
    with state.lock():
        containers = engine.containers(state.name)
        if containers and not record.describes(containers):
            raise ClusterError(
                f"the kind cluster {state.name} that exists is not the one that the suite made",
                next_step=f"kind delete cluster --name {state.name}, if nobody needs it",
            )
        if containers:
            life.remove()
        else:
            life.remove_leftovers(record)
    return True
