"""Opens the kind cluster of a run: a new one, or one with the same name that an earlier run left."""

from __future__ import annotations

import contextlib
from dataclasses import replace
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
    """Yield a running cluster that matches the options (see ``choice.open_cluster``)."""
    request = preflight.requested_node_image(options.kubernetes, options.node_image)
    state = KindState(options.name)
    with progress.step("machine") as step:
        kind = preflight.require_kind()
        engine = detect()
        step.update(f"kind {kind}, {engine.program} {engine.version}")
    lifetime = ClusterLifetime(engine, state, progress, failed=options.failed, results=options.results)
    with state.lock(), sigterm_as_interrupt(), lifetime:
        existing = _existing_cluster(lifetime, engine, state, options, progress)
        if existing is not None:
            yield existing
            return
        config = configuration.render(options.name, request.image, options.proxy_mode, options.ip_family)
        preflight.require_room(engine, config)
        image = preflight.node_image(engine, request, progress)
        facts = {
            "kind": kind,
            "engine": f"{engine.program} {engine.version}",
            "node image": f"{request.image} ({image.image.id}, from {request.origin})",
        }
        _note_old_kind(kind, request.kind, progress)
        cluster = lifetime.start(config, image, facts, options.deadlines.kind_ready)
        if options.keep:
            lifetime.keep()
        yield replace(cluster, ends_with_run=not options.keep)


def _existing_cluster(
    lifetime: ClusterLifetime, engine: Engine, state: KindState, options: ClusterOptions, progress: Progress
) -> KindCluster | None:
    """Return the cluster that an earlier run left under this name; None when a new one has to be created.

    A cluster that a killed run left unusable is removed. Raises ClusterError or UsageError, and changes nothing, when
    the suite did not make the cluster, or when it was kept and is unusable or does not match the options.
    """
    containers = engine.containers(state.name)
    record = state.record()
    if not containers:
        lifetime.remove_leftovers(record)
        return None
    if record is None or not record.describes(containers):
        raise ClusterError(
            f"a kind cluster {state.name} exists that this suite did not make: {_states(containers)}",
            next_step=f"use another --cluster-name, delete it (kind delete cluster --name {state.name}), or check it"
            f" as it is (kind get kubeconfig --name {state.name} > FILE; --cluster external --kubeconfig FILE)",
        )
    mismatch = _mismatch(record, options)
    fault = mismatch or clusters.fault_of(record, containers, state, engine, seconds=options.deadlines.kind_found)
    if not fault:
        origin = "kept" if record.kept else "left by a run that was killed"
        progress.note(f"cluster {state.name}: found running, {origin}, Kubernetes {record.kubernetes}")
        cluster = lifetime.adopt(record, containers)
        if options.keep:
            lifetime.keep()
        return cluster
    if record.kept:
        raise (UsageError if mismatch else ClusterError)(
            f"kind cluster {state.name}, kept by an earlier run, cannot be used: {fault}",
            next_step=f"remove it (session-affinity cluster down --provider kind --name {state.name}),"
            " or use another --cluster-name",
        )
    progress.note(f"cluster {state.name}: left by a run that was killed, replaced: {fault}")
    lifetime.remove()
    return None


def _mismatch(record: KindRecord, options: ClusterOptions) -> str:
    """Return which given options the cluster does not match; empty when it matches all of them."""
    version = (options.kubernetes or "").strip().removeprefix("v")
    requests = {
        "--node-image": (options.node_image, record.node_image, record.node_image == options.node_image),
        "--kubernetes": (version, record.kubernetes, f"{record.kubernetes}.".startswith(f"{version}.")),
        "--ip-family": (options.ip_family, record.ip_family, record.ip_family == options.ip_family),
        "--proxy-mode": (options.proxy_mode, record.proxy_mode, record.proxy_mode == options.proxy_mode),
    }
    return "; ".join(
        f"{option} is {requested}, but the cluster has {actual}"
        for option, (requested, actual, matches) in requests.items()
        if requested and not matches
    )


def _states(containers: Sequence[Container]) -> str:
    return ", ".join(f"{container.name} ({container.state})" for container in containers) + f", label {CLUSTER_LABEL}"


def _note_old_kind(kind: str, published_with: str, progress: Progress) -> None:
    """Print a note when kind is older than its node image: kind supports only the images of its own release."""
    release = published_with.removeprefix("v")
    if release and _numbers(kind) < _numbers(release):
        progress.note(f"kind {kind} is older than kind {release}, with which the node image was published")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
