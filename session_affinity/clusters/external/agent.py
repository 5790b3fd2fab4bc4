"""Access to the nodes through a pod on each: manifests/node-agent.yaml says what these pods may do, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.clusters.external import images
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, NodeError, NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.pod_exec import ExecError
from session_affinity.kube.pod_state import is_ready, trouble
from session_affinity.kube.resources import EVENTS, PODS
from session_affinity.nodes.node import Completed
from session_affinity.text import first_text
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from session_affinity.kube.api import Api
    from session_affinity.kube.pod_shell import PodShell

MANIFEST: Final = bundle.MANIFESTS / "node-agent.yaml"
LABELS: Final = "app=node-agent"


@dataclass(frozen=True)
class AgentNode:
    """A node, seen from its network namespace by the agent's shell; everything else is the agent's own."""

    name: str
    shell: PodShell

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command in the agent (see ``nodes.node.Node``)."""
        try:
            ended = self.shell.run(argv, timeout=timeout, stdin=stdin)
        except ExecError as error:
            raise NodeError(f"{self.name}: {error.what}", next_step=error.next_step) from error
        return Completed(self.name, tuple(argv), ended.returncode, ended.stdout, ended.stderr)


def manifests(namespace: str, source: images.ImageSource = images.AS_NAMED) -> list[dict[str, Any]]:
    """Return the agent's objects for a namespace, with the image from where images come from."""
    objects = []
    for one in yaml.safe_load_all(MANIFEST.read_text()):
        one["metadata"]["namespace"] = namespace
        if one["kind"] == "DaemonSet":
            template = one["spec"]["template"]
            template["spec"] = source.spec(template["spec"])
        objects.append(one)
    return objects


def start(
    api: Api,
    namespace: str,
    nodes: Iterable[str],
    source: images.ImageSource = images.AS_NAMED,
    *,
    deadlines: Deadlines = DEFAULTS,
) -> dict[str, AgentNode]:
    """Start an agent on every one of these nodes and return access to them; raises NotReadyError, ClusterError."""
    for one in manifests(namespace, source):
        try:
            api.apply(one)
        except ApiError as error:
            raise ClusterError(
                f"the cluster refuses the node agent: {error.what}",
                next_step="run without --node-access agent: claims about nodes are then skipped",
            ) from error
    pods = _wait(api, namespace, sorted(nodes), deadlines)
    return {node: AgentNode(node, api.shell(namespace, pod)) for node, pod in sorted(pods.items())}


def _wait(api: Api, namespace: str, nodes: Sequence[str], deadlines: Deadlines) -> dict[str, str]:
    """Wait until every node's agent is Ready and return the pods by node."""
    began = time.monotonic()
    ready: dict[str, str] = {}

    def all_ready() -> bool:
        pods = api.objects(PODS, namespace, labels=LABELS)
        if stuck := [what for what in map(trouble, pods) if what]:
            raise NotReadyError(
                f"the node agent does not run: {first_text(stuck)}",
                next_step="--list-images says which images are needed, --image-registry takes them from a mirror",
            )
        if not pods and time.monotonic() - began > deadlines.agents_refused:
            _raise_if_refused(api, namespace)
        ready.update({pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods if is_ready(pod)})
        return set(nodes) <= ready.keys()

    wait_until(
        all_ready,
        deadlines.agents_ready,
        what=f"the node agents in namespace {namespace} to be Ready",
        last_state=lambda: f"no node agent is Ready on {', '.join(name for name in nodes if name not in ready)}",
        next_step=f"kubectl describe pods -n {namespace} -l {LABELS} says why while a run goes on",
        pause=0.2,
    )
    return {name: ready[name] for name in nodes}


def _raise_if_refused(api: Api, namespace: str) -> None:
    """Raise ClusterError when the controller could not make the pods: of a refusal there is only an event."""
    for event in api.objects(EVENTS, namespace):
        if event.get("reason") == "FailedCreate" and event["involvedObject"].get("kind") == "DaemonSet":
            raise ClusterError(
                f"the cluster refuses the pods of the node agent: {event.get('message')}",
                next_step="allow privileged PodSecurity for the run's namespace, or run without --node-access agent",
            )
