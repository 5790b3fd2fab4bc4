"""A kind cluster, from its start to its end."""

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
from session_affinity.clusters.kind import configuration, images, ready
from session_affinity.clusters.kind.manager import KindManager
from session_affinity.clusters.kind.node import KindNode
from session_affinity.clusters.kind.state import KindRecord
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.kube import logs
from session_affinity.kube.api import Api
from session_affinity.progress import quiet
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.clusters.kind.engine import Container, Engine
    from session_affinity.clusters.kind.preflight import NodeImage
    from session_affinity.clusters.kind.state import KindState
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.progress import Progress, ProgressStep

LATE_SECONDS: Final = 3.0
"""How long an engine may be busy making a node before it can be seen."""
_BALANCER: Final = "-external-load-balancer"
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class KindCluster(OwnCluster):
    """A running kind cluster (see ``clusters.cluster.Cluster``).

    ``images`` has the names under which the nodes have those images of the manifests that were put on them.
    """

    name: str
    kubeconfig: Path
    nodes: Mapping[str, KindNode]
    proxy_configs: ProxyConfigs
    facts: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)
    provider: str = "kind"

    def kube_proxy_log(self, node: str) -> str:
        """Return the end of the log of the kube-proxy pod on a node (see ``clusters.cluster.Cluster``)."""
        return logs.of_kube_proxy(Api(self.kubeconfig, context=self.context, request_seconds=DEFAULTS.pod_log), node)

    def image_name(self, image: str) -> str:
        """Return the name under which the nodes have an image, or pull it (see ``OwnCluster``)."""
        return self.images.get(image, image)


def nodes_of(engine: Engine, containers: Sequence[Container]) -> dict[str, KindNode]:
    """Return the nodes among the containers of a cluster, the control plane first."""
    names = (one.name for one in containers if not one.name.endswith(_BALANCER))
    return {name: KindNode(name, engine.program) for name in sorted(names)}


class ClusterLifetime:
    """A cluster that ends with the block, or with the interpreter if that comes first, unless it is to be kept.

    ``failed`` is asked before the cluster is removed: when it says so, the nodes' logs are written below ``results``.
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
        self._begun = False
        self._kept = False

    def __enter__(self) -> Self:
        # Interrupted at a bad moment, pytest forgets what it had to finish.
        atexit.register(self._at_exit)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._begun and ((kind is not None and issubclass(kind, Exception)) or self._failed()):
                self.export_logs()
        finally:
            try:
                if self._begun and not self._kept:
                    self.remove()
            except Exception:
                atexit.unregister(self._at_exit)
                raise
        atexit.unregister(self._at_exit)

    def keep(self) -> None:
        """Let the cluster outlive this run, and let the next one know."""
        self._kept = True
        record = self._state.record()
        if record is not None and not record.kept:
            self._state.write(replace(record, kept=True))

    def start(self, config: dict[str, Any], image: NodeImage, facts: dict[str, str], seconds: float) -> KindCluster:
        """Create the cluster and wait, at most ``seconds`` after kind, until it can be judged.

        Raises ClusterError with what kind said, NotReadyError with what was seen last.
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
        self._begun = True
        with self._progress.step("kind create cluster") as step:
            self._manager(_Steps(step, self._progress)).create_cluster()
        containers = self._engine.containers(self._state.name)
        nodes = nodes_of(self._engine, containers)
        with ThreadPoolExecutor(1, thread_name_prefix="images") as pool:
            loading = pool.submit(images.load, self._engine, self._manager(), self._state, self._progress)
            with self._progress.step("nodes and kube-proxy") as step:
                family = families_of(record.ip_family)[0]
                api = Api(self._state.kubeconfig)
                proxy_config = ready.wait(api, nodes, seconds=seconds, step=step, family=family)
            with self._progress.step("images of the sample pods"):
                loaded = loading.result()
                facts |= loaded.facts
        facts["cluster start"] = f"{time.monotonic() - began:.1f} s"
        ids = {one.name: one.id for one in containers}
        self._state.write(replace(record, nodes=ids, facts=facts, images=loaded.names))
        return self._cluster(nodes, proxy_config, facts, loaded.names)

    def adopt(self, record: KindRecord, containers: Sequence[Container]) -> KindCluster:
        """Take over a cluster that an earlier run left; raises ClusterError when it cannot be read.

        It ends with this run, unless it was kept before or is to be kept now.
        """
        self._begun, self._kept = True, record.kept
        proxy_config = ready.kube_proxy_config(Api(self._state.kubeconfig))
        facts = {**record.facts, "cluster start": "found running"}
        return self._cluster(nodes_of(self._engine, containers), proxy_config, facts, record.images)

    def _cluster(
        self,
        nodes: Mapping[str, KindNode],
        proxy_config: ProxyConfig,
        facts: Mapping[str, str],
        image_names: Mapping[str, str],
    ) -> KindCluster:
        configs = ProxyConfigs.same(proxy_config, nodes)
        return KindCluster(self._state.name, self._state.kubeconfig, nodes, configs, facts, image_names)

    def export_logs(self) -> None:
        """Write the logs of the nodes to the results; not being able to is worth a line, not an error of its own."""
        shutil.rmtree(self._logs, ignore_errors=True)
        try:
            with self._progress.step("kind export logs") as step:
                self._manager().export_logs(self._logs, timeout=DEFAULTS.kind_logs)
                step.update(str(self._logs))
        except ClusterError as error:
            self._progress.note(f"cluster {self._state.name}: no logs of its nodes: {error}")

    def remove(self) -> None:
        """Remove the cluster and what is remembered of it; raises ClusterError naming what does not go.

        Until it is gone it is remembered, so that the next run can finish this.
        """
        record = self._state.record()
        with interrupts_ignored(self._progress.note), self._progress.step("kind delete cluster"):
            left: tuple[Container, ...] = ()

            def is_removed() -> bool:
                # More than once: the engine may still be making a node for a kind that was interrupted.
                nonlocal left
                self._manager().delete_cluster()
                left = self._remaining(for_certain=record is not None and record.started)
                return not left

            if not poll(is_removed, DEFAULTS.kind_removal, pause=0):
                ids = " ".join(one.id[:12] for one in left)
                raise ClusterError(
                    f"containers of kind cluster {self._state.name} stay: {', '.join(one.name for one in left)}",
                    next_step=f"{self._engine.program} rm --force --volumes {ids}",
                )
            self.forget(record)

    def _remaining(self, *, for_certain: bool) -> tuple[Container, ...]:
        """Return the containers that are there; one more look, later, where the engine may be making some."""
        left = self._engine.containers(self._state.name)
        if not left and not for_certain:
            time.sleep(LATE_SECONDS)
            left = self._engine.containers(self._state.name)
        return left

    def forget(self, record: KindRecord | None) -> None:
        """Remove what is left of a cluster without containers: its files, and the network if it brought it."""
        if record is not None and not record.network_was_there:
            self._engine.remove_network()
        self._state.forget()
        self._begun = False

    def _manager(self, told: Callable[[str], None] = lambda _: None) -> KindManager:
        record = self._state.record()
        return KindManager(
            self._state.configuration,
            self._state.kubeconfig,
            kubernetes=record.kubernetes if record else "0.0.0",
            environment=self._engine.environment,
            told=told,
        )

    def _at_exit(self) -> None:
        if self._begun and not self._kept and self._state.record() is not None:
            self._progress = quiet()
            self.remove()


class _Steps:
    """What kind says while it creates, as the detail of a step, and how long each of its own took."""

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


def trouble_with(
    record: KindRecord, containers: Sequence[Container], state: KindState, engine: Engine, *, seconds: float
) -> str:
    """Return in words why a cluster that is there cannot be judged; empty when it can."""
    if not record.started:
        return "its start was interrupted"
    lost = sorted(set(record.nodes) - {one.name for one in containers})
    stopped = [f"{one.name} is {one.state}" for one in containers if one.state != "running"]
    if lost or stopped:
        return "; ".join([*(f"{name} is gone" for name in lost), *stopped])
    if not state.kubeconfig.exists():
        return f"its kubeconfig {state.kubeconfig} is gone"
    api = Api(state.kubeconfig, request_seconds=seconds)
    nodes = nodes_of(engine, containers)
    lacking = ""

    def is_ready() -> bool:
        nonlocal lacking
        lacking = ready.not_ready(api, nodes)
        return not lacking

    poll(is_ready, seconds, pause=0.5)
    return lacking
