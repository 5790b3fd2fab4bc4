"""Pods: the shared sample pods are waited for here, and pods of a test's own are made."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects.labels import PART_OF, unique_name
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, NotReadyError
from session_affinity.kube import events, pod_state
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import PODS
from session_affinity.text import first_text, listed
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from session_affinity.kube.api import Api

LABELS: Final = {"app.kubernetes.io/part-of": PART_OF, "app.kubernetes.io/component": "pod-of-a-test"}
SELECTOR: Final = ",".join(f"{name}={value}" for name, value in LABELS.items())
"""Selects every pod that a test made, of this run or of one that was killed."""

READINESS_GATE: Final = "session-affinity.example/ready"
GATED: Final[Mapping[str, Any]] = {"readinessGates": [{"conditionType": READINESS_GATE}]}
"""What a pod's specification has for its readiness to be declared: it needs no program in the pod that says so."""

Pod = Mapping[str, Any]


class Role(StrEnum):
    """What a pod is there for, which decides its image."""

    ENDPOINT = "endpoint"
    """Answers requests with its name, as the sample pods webpod1 to webpod3 do."""
    CLIENT = "client"
    """Sends requests, as the sample pod net-pod does."""


@dataclass(frozen=True)
class PodRequest:
    """A pod to be made: a short name of what it is for, what runs in it, its labels and where.

    ``node`` is empty where the scheduler may choose, ``name`` where the pod is to have a new one. ``spec`` are further
    fields of the pod's specification, ``container`` of each container's. ``commands`` is what a role's container runs
    in place of what it does by itself.
    """

    purpose: str
    roles: tuple[Role, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[Role, Sequence[str]] = field(default_factory=dict)
    name: str = ""


class Pods:
    """Makes and removes pods of tests in one namespace.

    ``templates`` has a sample pod for each role, ``adapt`` is the cluster's (see ``clusters.cluster.Cluster``).
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        templates: Mapping[Role, Pod],
        adapt: Callable[[Pod], Pod],
        *,
        deadlines: Deadlines = DEFAULTS,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._templates = templates
        self._adapt = adapt
        self._deadlines = deadlines

    def run(self, *wishes: PodRequest) -> list[Pod]:
        """Make pods and wait until all are Ready; return them as the API has them. Raises ClusterError."""
        began = time.time()
        with recorder.suppressed():
            names = [self.create(wish) for wish in wishes]
        return self.await_ready(*names, since=began)

    def await_ready(self, *names: str, since: float | None = None) -> list[Pod]:
        """Wait until pods are Ready and return them as the API has them; raises NotReadyError.

        ``since`` is when they were made, in seconds since the epoch, if not now.
        """
        began = since or time.time()
        found = until_ready(self._api, self._namespace, names, self._deadlines.pods_ready)
        placed = [f"{name} on {pod['spec'].get('nodeName')}" for name, pod in found.items()]
        recorder.record(recorder.Action(f"made pods {listed(placed)}, all Ready"), since=began)
        return [found[name] for name in names]

    def create(self, wish: PodRequest) -> str:
        """Make a pod, not waiting for it, and return its name; raises ClusterError."""
        pod = self._adapt(manifest(wish.name or unique_name(wish.purpose), self._namespace, wish, self._templates))
        try:
            self._api.create(pod)
        except ApiError as error:
            raise refused(pod, error) from error
        name = str(pod["metadata"]["name"])
        recorder.record(recorder.Action(f"made pod {name}"))
        return name

    def label(self, name: str, **labels: str | None) -> None:
        """Change labels of a pod; None takes one away."""
        self._api.patch(PODS, name, self._namespace, {"metadata": {"labels": labels}})
        recorder.record(recorder.Action(f"labelled pod {name}: {labels}"))

    def declare(self, name: str, *, ready: bool) -> None:
        """Say whether a pod with ``GATED`` is ready; it counts as Ready once this and its containers say so."""
        condition = {"type": READINESS_GATE, "status": str(ready)}
        self._api.patch_status(PODS, name, self._namespace, {"conditions": [condition]})
        recorder.record(recorder.Action(f"declared pod {name} {'ready' if ready else 'not ready'}"))

    def delete(self, *names: str, grace_seconds: int | None = None) -> None:
        """Remove pods, in the time that each asks for unless told otherwise; one that is gone already is no error."""
        for name in names:
            self._api.delete(PODS, name, self._namespace, grace_seconds=grace_seconds)
        recorder.record(recorder.Action(f"removed pods {listed(names)}"))

    def delete_all(self) -> None:
        """Remove every pod that a test made, also those that a killed run left."""
        self._api.delete_all(PODS, self._namespace, labels=SELECTOR, grace_seconds=0)


def manifest(name: str, namespace: str, wish: PodRequest, templates: Mapping[Role, Pod]) -> dict[str, Any]:
    """Return the pod that a wish asks for, made from the sample pods of its roles."""
    samples = [copy.deepcopy(dict(templates[role]["spec"])) for role in wish.roles]
    containers = [
        {**container, "name": str(role), **wish.container, **_command(wish, role)}
        for role, sample in zip(wish.roles, samples, strict=True)
        for container in sample["containers"]
    ]
    spec = {**samples[0], **wish.spec, "containers": containers}
    spec.pop("nodeName", None)
    if wish.node:
        spec["nodeName"] = wish.node
    metadata = {"name": name, "namespace": namespace, "labels": {**wish.labels, **LABELS}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _command(wish: PodRequest, role: Role) -> dict[str, list[str]]:
    return {"command": list(wish.commands[role]), "args": []} if role in wish.commands else {}


def running(api: Api, namespace: str, names: Collection[str]) -> dict[str, Pod]:
    """Return those of the named pods that are Ready, in the order of the names."""
    pods = {pod["metadata"]["name"]: pod for pod in api.objects(PODS, namespace)}
    return {name: pods[name] for name in names if name in pods and pod_state.is_ready(pods[name])}


def until_ready(api: Api, namespace: str, names: Sequence[str], seconds: float) -> dict[str, Pod]:
    """Wait until pods are Ready and return them; raises NotReadyError, at once where waiting will not help."""
    found: dict[str, Pod] = {}

    def all_ready() -> bool:
        found.update(running(api, namespace, names))
        if len(found) < len(names):
            _raise_if_hopeless(api, namespace, names)
        return len(found) == len(names)

    def late() -> str:
        told = events.last_messages(api, namespace)
        states = {pod["metadata"]["name"]: _state(pod, told) for pod in api.objects(PODS, namespace)}
        return ", ".join(f"{name} ({states.get(name, 'absent')})" for name in names if name not in found)

    wait_until(
        all_ready,
        seconds,
        what=f"pods in namespace {namespace} to be Ready: {listed(names)}",
        last_state=lambda: f"not Ready: {late()}",
        next_step=f"see whether those nodes can run them; {SLOW_MACHINE}",
    )
    return {name: found[name] for name in names}


def refused(pod: Pod, error: ApiError) -> ClusterError:
    """Return what to raise when the API does not take a pod."""
    return ClusterError(
        f"the cluster does not take pod {pod['metadata']['name']}: {error.what}",
        next_step="without its pods nothing can be judged: see quotas and policies for the namespace",
    )


def _raise_if_hopeless(api: Api, namespace: str, names: Collection[str]) -> None:
    """Raise NotReadyError when waiting will not help: an image that cannot be had, a pod that has no place."""
    pods = [pod for pod in api.objects(PODS, namespace) if pod["metadata"]["name"] in names]
    if told := [what for what in map(pod_state.trouble, pods) if what]:
        raise NotReadyError(
            first_text(told),
            next_step="without its pods nothing can be judged; --list-images says which images are needed, "
            "--image-registry takes them from a mirror",
        )


def _state(pod: Pod, told: Mapping[str, str]) -> str:
    """Return how far a pod has come, and the last that was told of it."""
    if pod_state.is_ready(pod):
        return "Ready"
    phase, last = str(pod.get("status", {}).get("phase", "unknown")), told.get(pod["metadata"]["name"])
    return f"{phase}: {last}" if last else phase
