"""A cluster that existed before the run and stays after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from session_affinity.clusters.external import images, outside_pod, placement
from session_affinity.clusters.external.outside import outside_of
from session_affinity.clusters.external.pod_settings import NO_SETTINGS, PodSettings
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.dataplane.recognition import Recognition
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.kube import logs
from session_affinity.kube.api import Api

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from session_affinity.agents.fleet import Fleet
    from session_affinity.clusters.external.agent import AgentNode
    from session_affinity.clusters.external.outside_pod import PodHost
    from session_affinity.clusters.external.placement import Placement
    from session_affinity.clusters.outside import Outside


@dataclass(frozen=True)
class ExternalCluster:
    """A user's cluster (see ``clusters.cluster.Cluster``).

    ``source`` is where its images come from, ``settings`` are what every pod of the run has.
    """

    name: str
    kubeconfig: Path
    context: str
    namespace: str
    placement: Placement
    source: images.ImageSource = images.AS_NAMED
    settings: PodSettings = NO_SETTINGS
    proxy_configs: ProxyConfigs = field(default_factory=ProxyConfigs)
    recognition: Recognition = field(default_factory=Recognition)
    nodes: Mapping[str, AgentNode] = field(default_factory=dict)
    missing_nodes: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    fleet: Fleet | None = None
    provider: str = "external"
    is_ours: bool = False
    ends_with_run: bool = False
    outside_client: str | None = None
    deadlines: Deadlines = DEFAULTS
    kube_proxy_start: tuple[str, ...] = ()

    def outside(self) -> AbstractContextManager[Outside]:
        """Return what the user named as a client outside (see ``clusters.cluster.Cluster``)."""
        return outside_of(self.outside_client, self._pod_outside)

    def dataplane_log(self, node: str) -> str:
        """Return the end of the log of the kube-proxy pod on a node (see ``clusters.cluster.Cluster``)."""
        return logs.of_kube_proxy(Api(self.kubeconfig, context=self.context, request_seconds=DEFAULTS.pod_log), node)

    def adapt(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a pod for a node of this cluster, with the settings of all pods and its images' names here."""
        placed = self.settings.applied_to(placement.on_node(pod, self.placement, self.settings.selection))
        return {**placed, "spec": self.source.spec(placed["spec"])}

    def _pod_outside(self, kubeconfig: Path) -> AbstractContextManager[PodHost]:
        settings = replace(self.settings, pull_secrets=())

        def adapted(pod: Mapping[str, Any]) -> Mapping[str, Any]:
            changed = settings.applied_to(pod)
            return {**changed, "spec": self.source.spec(changed["spec"])}

        api = Api(self.kubeconfig, context=self.context, request_seconds=self.deadlines.api_request)
        return outside_pod.pod_of(kubeconfig, api, adapted, self.annotations, self.deadlines)
