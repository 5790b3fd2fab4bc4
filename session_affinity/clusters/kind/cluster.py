"""A kind cluster and its lifetime: creation, adoption by a later run, removal."""

from __future__ import annotations

import atexit
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.cluster import OwnCluster
from session_affinity.clusters.interrupts import interrupts_ignored
from session_affinity.clusters.kind import configuration, images, readiness
from session_affinity.clusters.kind.manager import KindManager
from session_affinity.clusters.kind.node import KindNode
from session_affinity.clusters.kind.outside import container_name, outside_of
from session_affinity.clusters.kind.state import KindRecord
from session_affinity.clusters.outside import nobody
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.kube import logs
from session_affinity.kube.api import Api
from session_affinity.progress import quiet
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from session_affinity.clusters.kind.engine import Container, Engine
    from session_affinity.clusters.kind.preflight import NodeImage
    from session_affinity.clusters.kind.state import KindState
    from session_affinity.clusters.outside import Outside
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.progress import Progress, ProgressStep

LATE_SECONDS: Final = 3.0
"""How long an engine may take to create a node before it lists the container."""
_BALANCER: Final = "-external-load-balancer"
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class KindCluster(OwnCluster):
    """A running kind cluster (see ``clusters.cluster.Cluster``).

    ``images`` maps the images of the manifests that were loaded onto the nodes to their names there. ``node_image`` and
    ``engine`` are None or empty where the cluster is only looked at.
    """

    name: str
    kubeconfig: Path
    nodes: Mapping[str, KindNode]
    proxy_configs: ProxyConfigs
    facts: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)
    node_image: str = ""
    engine: Engine | None = None
    provider: str = "kind"
    ends_with_run: bool = False

    def outside(self) -> AbstractContextManager[Outside]:
        """Return a client outside the cluster, on kind's network (see ``clusters.cluster.Cluster``)."""
        if self.engine is None:
            return nobody("the container engine of the cluster is not known")
        return outside_of(self.name, self.node_image, self.engine)

    def dataplane_log(self, node: str) -> str:
        """Return the end of the log of a node's kube-proxy pod (see ``clusters.cluster.Cluster``)."""
        return logs.of_kube_proxy(Api(self.kubeconfig, context=self.context, request_seconds=DEFAULTS.pod_log), node)

    def image_name(self, image: str) -> str:
        """Return an image's name on the nodes, or the name by which they pull it (see ``OwnCluster``)."""
        return self.images.get(image, image)


def nodes_of(engine: Engine, containers: Sequence[Container]) -> dict[str, KindNode]:
    """Return the nodes among a cluster's containers by name, the control plane first."""
    names = (container.name for container in containers if not container.name.endswith(_BALANCER))
    return {name: KindNode(name, engine.program) for name in sorted(names)}


class ClusterLifetime:
    """Removes a cluster at the end of the block, or when the interpreter exits before that, unless it is kept.

    When ``failed`` returns true at the end of the block, or the block raises, the logs of the nodes are first written
    to a directory below ``results``.
    """

    def __init__(
        self,
        engine: Engine,
        state: KindState,
        progress: Progress,
        *,
        failed: Callable[[], bool] = lambda: False,
        results: Path = Path("results"),
    ) -> None:
        self._engine = engine
        self._state = state
        self._progress = progress
        self._failed = failed
        self._logs = results / f"kind-logs-{state.name}"
        self._may_exist = False
        self._kept = False

    def __enter__(self) -> Self:
        # pytest does not always run its teardown after an interrupt.
        atexit.register(self._at_exit)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._may_exist and ((kind is not None and issubclass(kind, Exception)) or self._failed()):
                self.export_logs()
        finally:
            try:
                if self._may_exist and not self._kept:
                    self.remove()
            except Exception:
                atexit.unregister(self._at_exit)
                raise
        atexit.unregister(self._at_exit)

    def keep(self) -> None:
        """Keep the cluster after this run, and mark it as kept for later runs."""
        self._kept = True
        record = self._state.record()
        if record is not None and not record.kept:
            self._state.write(replace(record, kept=True))

    def start(self, config: dict[str, Any], image: NodeImage, facts: dict[str, str], seconds: float) -> KindCluster:
        """Create the cluster and wait until it is ready, for at most ``seconds`` after kind has ended.

        Raises ClusterError with kind's output, NotReadyError with the last state.
        """
        began = time.monotonic()
        record = KindRecord(
            node_image=image.image.name,
            kubernetes=image.kubernetes,
            proxy_mode=configuration.proxy_mode_of(config),
            ip_family=configuration.ip_family_of(config),
            network_was_there=self._engine.has_network(),
        )
        self._state.begin(config, record)
        self._may_exist = True
        with self._progress.step("kind create cluster") as step:
            patches = self._state.add(configuration.PATCHES)
            if self._engine.mounts(patches, record.node_image):
                self._state.configure(configuration.with_patches(config, patches))
            self._manager(_KindSteps(step, self._progress)).create_cluster()
        containers = self._engine.containers(self._state.name)
        nodes = nodes_of(self._engine, containers)
        with ThreadPoolExecutor(1, thread_name_prefix="images") as pool:
            loading = pool.submit(images.load, self._engine, self._manager(), self._state, self._progress)
            with self._progress.step("nodes and kube-proxy") as step:
                family = families_of(record.ip_family)[0]
                api = Api(self._state.kubeconfig)
                proxy_config = readiness.wait(api, nodes, seconds=seconds, step=step, family=family)
            with self._progress.step("images of the sample pods"):
                loaded = loading.result()
                facts |= loaded.facts
        facts["cluster start"] = f"{time.monotonic() - began:.1f} s"
        ids = {container.name: container.id for container in containers}
        self._state.write(replace(record, nodes=ids, facts=facts, images=loaded.names))
        return self._cluster(nodes, proxy_config, facts, loaded.names, record.node_image)

    def adopt(self, record: KindRecord, containers: Sequence[Container]) -> KindCluster:
        """Take over a cluster that an earlier run left; raises ClusterError when it does not answer.

        The cluster is removed at the end of this run, unless it was kept before or is kept now.
        """
        self._may_exist, self._kept = True, record.kept
        proxy_config = readiness.kube_proxy_config(Api(self._state.kubeconfig))
        facts = {**record.facts, "cluster start": "found running"}
        nodes = nodes_of(self._engine, containers)
        return self._cluster(nodes, proxy_config, facts, record.images, record.node_image)

    def _cluster(
        self,
        nodes: Mapping[str, KindNode],
        proxy_config: ProxyConfig,
        facts: Mapping[str, str],
        image_names: Mapping[str, str],
        node_image: str,
    ) -> KindCluster:
        configs = ProxyConfigs.same(proxy_config, nodes)
        name, kubeconfig = self._state.name, self._state.kubeconfig
        return KindCluster(name, kubeconfig, nodes, configs, facts, image_names, node_image, self._engine)

    def export_logs(self) -> None:
        """Write the logs of the nodes below the results directory; a failure is printed and not raised."""
        shutil.rmtree(self._logs, ignore_errors=True)
        try:
            with self._progress.step("kind export logs") as step:
                self._manager().export_logs(self._logs, timeout=DEFAULTS.kind_logs)
                step.update(str(self._logs))
        except ClusterError as error:
            self._progress.note(f"cluster {self._state.name}: the logs of its nodes cannot be exported: {error}")

    def remove(self) -> None:
        """Remove the cluster, then its files; raises ClusterError naming the containers that stay.

        The files stay as long as the cluster does, so that the next run can finish the removal.
        """
        record = self._state.record()
        with interrupts_ignored(self._progress.note), self._progress.step("kind delete cluster"):
            remaining: tuple[Container, ...] = ()

            self._engine.remove_container(container_name(self._state.name))

            def is_removed() -> bool:
                # Repeated, because the engine may still be creating a node for a kind that was interrupted.
                nonlocal remaining
                self._manager().delete_cluster()
                remaining = self._remaining_containers(started=record is not None and record.started)
                return not remaining

            if not poll(is_removed, DEFAULTS.kind_removal, pause=0):
                names = ", ".join(container.name for container in remaining)
                ids = " ".join(container.id[:12] for container in remaining)
                raise ClusterError(
                    f"kind cluster {self._state.name} still has containers after `kind delete cluster`: {names}",
                    next_step=f"remove them: {self._engine.program} rm --force --volumes {ids}",
                )
            self.remove_leftovers(record)

    def _remaining_containers(self, *, started: bool) -> tuple[Container, ...]:
        """Return the cluster's containers; waits for late ones unless the cluster's start was completed."""
        remaining = self._engine.containers(self._state.name)
        if not remaining and not started:
            time.sleep(LATE_SECONDS)
            remaining = self._engine.containers(self._state.name)
        return remaining

    def remove_leftovers(self, record: KindRecord | None) -> None:
        """Remove the files of a cluster without containers, and kind's network if the cluster's start created it."""
        if record is not None and not record.network_was_there:
            self._engine.remove_network()
        self._state.remove_files()
        self._may_exist = False

    def _manager(self, on_line: Callable[[str], None] = lambda _: None) -> KindManager:
        record = self._state.record()
        return KindManager(
            self._state.configuration,
            self._state.kubeconfig,
            kubernetes=record.kubernetes if record else "0.0.0",
            environment=self._engine.environment,
            on_line=on_line,
        )

    def _at_exit(self) -> None:
        if self._may_exist and not self._kept and self._state.record() is not None:
            self._progress = quiet()
            self.remove()


class _KindSteps:
    """Shows kind's current step as the detail of ours, and prints how long each of kind's steps took."""

    def __init__(self, step: ProgressStep, progress: Progress) -> None:
        self._step = step
        self._progress = progress
        self._began = step.seconds

    def __call__(self, line: str) -> None:
        text = _UNPRINTABLE.sub(" ", line).strip().removesuffix("...").strip()
        mark = line.strip()[:1]
        if mark == "✓":
            self._progress.note(f"  kind: {text}: {self._step.seconds - self._began:.1f} s")
        elif mark == "•":
            self._began = self._step.seconds
            self._step.update(text)


def fault_of(
    record: KindRecord, containers: Sequence[Container], state: KindState, engine: Engine, *, seconds: float
) -> str:
    """Return why an existing cluster cannot be used; empty when it can. Waits ``seconds`` for its nodes to be Ready."""
    if not record.started:
        return "its start was interrupted"
    missing = sorted(set(record.nodes) - {container.name for container in containers})
    stopped = [f"{container.name} is {container.state}" for container in containers if container.state != "running"]
    if missing or stopped:
        return "; ".join([*(f"{name} is missing" for name in missing), *stopped])
    if not state.kubeconfig.exists():
        return f"its kubeconfig {state.kubeconfig} is missing"
    api = Api(state.kubeconfig, request_seconds=seconds)
    nodes = nodes_of(engine, containers)
    reason = ""

    def is_ready() -> bool:
        nonlocal reason
        reason = readiness.not_ready(api, nodes)
        return not reason

    poll(is_ready, seconds, pause=0.5)
    return reason
