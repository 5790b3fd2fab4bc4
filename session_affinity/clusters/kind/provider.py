"""A kind cluster as a run of the suite uses it: new, or one that an earlier run left under the same name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from session_affinity.clusters.interrupts import sigterm_as_interrupt
from session_affinity.clusters.kind import cluster as clusters
from session_affinity.clusters.kind import configuration, preflight
from session_affinity.clusters.kind.cluster import ClusterLifetime
from session_affinity.clusters.kind.engine import CLUSTER_LABEL, detect
from session_affinity.clusters.kind.state import KindState
from session_affinity.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.clusters.kind.cluster import KindCluster
    from session_affinity.clusters.kind.engine import Container, Engine
    from session_affinity.clusters.kind.state import KindRecord
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import Progress


@contextlib.contextmanager
def open_kind(options: ClusterOptions, progress: Progress) -> Iterator[KindCluster]:
    """Yield a running cluster that fits the options (see ``choice.open_cluster``)."""
    wish = preflight.wanted(options.kubernetes, options.node_image)
    state = KindState(options.name)
    with progress.step("machine") as step:
        kind = preflight.require_kind()
        engine = detect()
        step.update(f"kind {kind}, {engine.program} {engine.version}")
    life = ClusterLifetime(engine, state, progress, failed=options.failed, results=options.results)
    with state.held(), sigterm_as_interrupt(), life:
        found = _found(life, engine, state, options, progress)
        if found is not None:
            yield found
            return
        config = configuration.render(options.name, wish.image, options.proxy_mode, options.ip_family)
        preflight.require_room(engine, config)
        image = preflight.node_image(engine, wish, progress)
        facts = {
            "kind": kind,
            "engine": f"{engine.program} {engine.version}",
            "node image": f"{wish.image} ({image.image.id}, from {wish.origin})",
        }
        _note_old_kind(kind, wish.kind, progress)
        cluster = life.start(config, image, facts, options.deadlines.kind_ready)
        if options.keep:
            life.keep()
        yield cluster


def _found(
    life: ClusterLifetime, engine: Engine, state: KindState, options: ClusterOptions, progress: Progress
) -> KindCluster | None:
    """Return the cluster of that name when an earlier run left it and it fits; None when there is none any more.

    Raises ClusterError or UsageError, and leaves it as it is, when it is someone else's or was kept and does not fit.
    """
    containers = engine.containers(state.name)
    record = state.record()
    if not containers:
        life.forget(record)
        return None
    if record is None or not record.describes(containers):
        raise ClusterError(
            f"there is a kind cluster {state.name} that this suite did not make: {_states(containers)}",
            next_step=f"use another --cluster-name, delete it (kind delete cluster --name {state.name}), or check it"
            f" as it is (kind get kubeconfig --name {state.name} > FILE; --cluster external --kubeconfig FILE)",
        )
    misfit = _misfit(record, options)
    trouble = misfit or clusters.trouble_with(record, containers, state, engine, seconds=options.deadlines.kind_found)
    if not trouble:
        whose = "kept" if record.kept else "left by a run that was killed"
        progress.note(f"cluster {state.name}: found running, {whose}, Kubernetes {record.kubernetes}")
        cluster = life.adopt(record, containers)
        if options.keep:
            life.keep()
        return cluster
    if record.kept:
        raise (UsageError if misfit else ClusterError)(
            f"kind cluster {state.name} was kept, and {trouble}",
            next_step=f"remove it (session-affinity cluster down --provider kind --name {state.name}),"
            " or use another --cluster-name",
        )
    progress.note(f"cluster {state.name}: left by a run that was killed, and {trouble}: replaced")
    life.remove()
    return None


def _misfit(record: KindRecord, options: ClusterOptions) -> str:
    """Return in words what a cluster has other than asked; empty where nothing was asked or all is so."""
    version = (options.kubernetes or "").strip().removeprefix("v")
    asked = {
        "--node-image": (options.node_image, record.node_image, record.node_image == options.node_image),
        "--kubernetes": (version, record.kubernetes, f"{record.kubernetes}.".startswith(f"{version}.")),
        "--ip-family": (options.ip_family, record.ip_family, record.ip_family == options.ip_family),
        "--proxy-mode": (options.proxy_mode, record.proxy_mode, record.proxy_mode == options.proxy_mode),
    }
    wrong = [
        f"{option} {wanted} is asked where it has {has}"
        for option, (wanted, has, same) in asked.items()
        if wanted and not same
    ]
    return "; ".join(wrong)


def _states(containers: Sequence[Container]) -> str:
    return ", ".join(f"{one.name} ({one.state})" for one in containers) + f", label {CLUSTER_LABEL}"


def _note_old_kind(kind: str, published_with: str, progress: Progress) -> None:
    """Say so when the image is newer than kind, which promises to run those of its own release only."""
    wanted = published_with.removeprefix("v")
    if wanted and _numbers(kind) < _numbers(wanted):
        progress.note(f"kind {kind} is older than {wanted}, which its node image was published with")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
