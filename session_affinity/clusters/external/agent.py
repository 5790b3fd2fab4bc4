"""Access to the nodes through a pod on each; manifests/node-agent.yaml lists what these pods may do, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.cluster_objects.pods import foreign_containers, foreign_containers_error
from session_affinity.clusters.external import coordinator, images
from session_affinity.clusters.external.pod_settings import NO_SETTINGS, PodSettings
from session_affinity.clusters.images import rename_images
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, NodeError, NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.pod_exec import ExecError
from session_affinity.kube.pod_state import is_ready, trouble
from session_affinity.kube.resources import EVENTS, PODS
from session_affinity.nodes.node import Completed
from session_affinity.text import first_text
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.agents.fleet import Fleet
    from session_affinity.kube.api import Api
    from session_affinity.kube.pod_shell import PodShell

MANIFEST: Final = bundle.MANIFESTS / "node-agent.yaml"
LABELS: Final = "app=node-agent"
_PAUSE: Final = 0.2
_PAUSE_A_NODE: Final = 0.001
"""The seconds between two looks at the agents' pods, whose list is long where there are many."""
_IMAGES_NEXT: Final = "`session-affinity images` lists the images, --image-registry takes them from a mirror"


@dataclass(frozen=True)
class AgentNode:
    """A node, seen from its network namespace by the agent's shell; all other namespaces are the agent's."""

    name: str
    shell: PodShell

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command in the agent (see ``nodes.node.Node``)."""
        try:
            ended = self.shell.run(argv, timeout=timeout, stdin=stdin)
        except ExecError as error:
            raise NodeError(f"{self.name}: {error.what}", next_step=error.next_step) from error
        return Completed(self.name, tuple(argv), ended.returncode, ended.stdout, ended.stderr)


@dataclass(frozen=True)
class Agents:
    """The agents that run in a namespace, by node, and the nodes without one, each with the reason.

    ``fleet`` asks them all at once where they can judge.
    """

    nodes: Mapping[str, AgentNode] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    fleet: Fleet | None = None


def manifests(
    namespace: str,
    source: images.ImageSource = images.AS_NAMED,
    settings: PodSettings = NO_SETTINGS,
    *,
    image: str | None = None,
    judges: bool = False,
) -> list[dict[str, Any]]:
    """Return the agent's objects for a namespace, with images from a source and the settings of all pods.

    ``image`` replaces the manifest's and is taken as it is. With ``judges`` the agents connect to the coordinator.
    """
    objects = []
    for manifest in yaml.safe_load_all(MANIFEST.read_text()):
        manifest["metadata"]["namespace"] = namespace
        if manifest["kind"] == "DaemonSet":
            template = settings.applied_to(manifest["spec"]["template"])
            selected = settings.selection.fields()
            node_selector = {**template["spec"].get("nodeSelector", {}), **selected.pop("nodeSelector", {})}
            spec = {**template["spec"], **selected, "nodeSelector": node_selector}
            spec = source.spec(spec) if image is None else rename_images(spec, lambda _: image)
            template = {**template, "spec": spec}
            manifest["spec"]["template"] = coordinator.judging(template) if judges else template
        objects.append(manifest)
    return objects


def start(
    api: Api,
    namespace: str,
    nodes: Iterable[str],
    source: images.ImageSource = images.AS_NAMED,
    settings: PodSettings = NO_SETTINGS,
    *,
    image: str | None = None,
    judges: bool = False,
    deadlines: Deadlines = DEFAULTS,
) -> Agents:
    """Start an agent on each of these nodes and return access to those whose agent is Ready in time.

    Raises ClusterError when the cluster refuses the agents, and NotReadyError when none is Ready in time.
    """
    for manifest in manifests(namespace, source, settings, image=image, judges=judges):
        try:
            api.apply(manifest)
        except ApiError as error:
            raise ClusterError(
                f"the cluster refuses the node agent: {error.what}",
                next_step="run without --node-access agent: claims about nodes are then skipped",
            ) from error
    return _Start(api, namespace, sorted(nodes), deadlines).agents()


class _Start:
    """The wait until every node's agent is Ready."""

    def __init__(self, api: Api, namespace: str, nodes: Sequence[str], deadlines: Deadlines) -> None:
        self._api = api
        self._namespace = namespace
        self._nodes = nodes
        self._deadlines = deadlines
        self._began = time.monotonic()
        self._pods: dict[str, str] = {}
        self._troubles: dict[str, str] = {}

    def agents(self) -> Agents:
        poll(self._is_decided, self._deadlines.agents_ready, pause=max(_PAUSE, len(self._nodes) * _PAUSE_A_NODE))
        missing = {name: self._reason(name) for name in self._nodes if name not in self._pods}
        if self._nodes and not self._pods:
            raise NotReadyError(
                f"no node agent is Ready in namespace {self._namespace}: {first_text(_named(missing))}",
                next_step=_IMAGES_NEXT
                if self._troubles
                else f"kubectl describe pods -n {self._namespace} -l {LABELS} says why while a run goes on",
            )
        shells = {
            name: AgentNode(name, self._api.shell(self._namespace, self._pods[name]))
            for name in self._nodes
            if name in self._pods
        }
        return Agents(shells, missing, self._namespace)

    def _is_decided(self) -> bool:
        """Whether each agent is Ready, or has a trouble that waiting does not mend."""
        pods = self._api.objects(PODS, self._namespace, labels=LABELS)
        if not pods and time.monotonic() - self._began > self._deadlines.agents_refused:
            self._raise_if_refused()
        for pod in pods:
            if foreign := foreign_containers(("agent",), pod):
                raise foreign_containers_error(pod, foreign)
        self._pods.update({_node(pod): pod["metadata"]["name"] for pod in pods if is_ready(pod)})
        self._troubles = {_node(pod): what for pod in pods if (what := trouble(pod))}
        return set(self._nodes) <= self._pods.keys() | self._troubles.keys()

    def _reason(self, node: str) -> str:
        return self._troubles.get(node) or (
            f"its agent was not Ready after {time.monotonic() - self._began:.0f} s (kubectl describe pods "
            f"-n {self._namespace} -l {LABELS} says why while the run goes on)"
        )

    def _raise_if_refused(self) -> None:
        """Raise ClusterError when the controller could not create pods: only an event says that they were refused."""
        for event in self._api.objects(EVENTS, self._namespace):
            if event.get("reason") == "FailedCreate" and event["involvedObject"].get("kind") == "DaemonSet":
                raise ClusterError(
                    f"the cluster refuses the pods of the node agent: {event.get('message')}",
                    next_step="--agent-namespace NAME puts them in a namespace that admits privileged pods; or run"
                    " without --node-access agent",
                )


def _node(pod: Mapping[str, Any]) -> str:
    return str(pod["spec"].get("nodeName", ""))


def _named(missing: Mapping[str, str]) -> list[str]:
    return [f"{name}: {reason}" for name, reason in missing.items()]
