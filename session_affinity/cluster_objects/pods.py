"""Creates the pods of tests, and waits for pods to be Ready."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects.labels import labels_of, selector, unique_name
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, NotReadyError
from session_affinity.kube import events, pod_state
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import PODS
from session_affinity.text import first_text, listed
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from session_affinity.kube.api import Api

LABELS: Final = labels_of("pod-of-a-test")
SELECTOR: Final = selector(LABELS)
"""Selects every pod that a test created, in this run or in a run that was killed."""

READINESS_GATE: Final = "session-affinity.example/ready"
GATED: Final[Mapping[str, Any]] = {"readinessGates": [{"conditionType": READINESS_GATE}]}
"""Fields of a pod's specification that make its readiness depend on ``Pods.set_ready``, without a readiness probe."""

PODS_PAUSE: Final = 0.1
"""Seconds between two looks at pods that are to be Ready."""

Pod = Mapping[str, Any]


class Role(StrEnum):
    """The purpose of a container, which decides its image."""

    ENDPOINT = "endpoint"
    """Answers requests with its pod's name, as the sample pods webpod1 to webpod3 do."""
    CLIENT = "client"
    """Sends requests, as the sample pod net-pod does."""


@dataclass(frozen=True)
class PodRequest:
    """A pod to be created, with one container for each role; ``purpose`` is a part of its name.

    ``node`` is empty if the scheduler chooses, ``name`` is empty for a new name. ``spec`` are further fields of the
    pod's specification, ``container`` of each container's. ``commands`` replace the command of a role's container.
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
    """Creates and deletes pods of tests in one namespace.

    ``templates`` has a sample pod for each role; ``adapt`` is ``Cluster.adapt`` of the cluster.
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

    def run(self, *requests: PodRequest) -> list[Pod]:
        """Create pods, wait until all are Ready and return them as stored; raises ClusterError."""
        began = time.time()
        with recorder.suppressed():
            names = [self.create(request) for request in requests]
        return self.wait_for_ready(*names, since=began)

    def wait_for_ready(self, *names: str, since: float | None = None) -> list[Pod]:
        """Wait until pods are Ready and return them as stored; raises NotReadyError.

        ``since`` is the time of their creation (``time.time()``), for the report; now if it is None.
        """
        began = since or time.time()
        pods = wait_for_ready(self._api, self._namespace, names, self._deadlines.pods_ready)
        placed = [f"{name} on {pod['spec'].get('nodeName')}" for name, pod in pods.items()]
        recorder.record(recorder.Action(f"created pods {listed(placed)}, all Ready"), since=began)
        return [pods[name] for name in names]

    def create(self, request: PodRequest) -> str:
        """Create a pod without waiting for it and return its name; raises ClusterError."""
        requested_name = request.name or unique_name(request.purpose)
        pod = self._adapt(manifest(requested_name, self._namespace, request, self._templates))
        try:
            stored = self._api.create(pod)
        except ApiError as error:
            raise pod_refusal(pod, error) from error
        require_own_containers(pod, stored)
        name = str(pod["metadata"]["name"])
        recorder.record(recorder.Action(f"created pod {name}"))
        return name

    def label(self, name: str, **labels: str | None) -> None:
        """Set labels of a pod; None removes a label."""
        self._api.patch(PODS, name, self._namespace, {"metadata": {"labels": labels}})
        recorder.record(recorder.Action(f"labelled pod {name}: {labels}"))

    def set_ready(self, name: str, *, ready: bool) -> None:
        """Set the readiness of a pod with ``GATED``; such a pod is Ready if this and its containers are."""
        condition = {"type": READINESS_GATE, "status": str(ready)}
        self._api.patch_status(PODS, name, self._namespace, {"conditions": [condition]})
        recorder.record(recorder.Action(f"set pod {name} {'ready' if ready else 'not ready'}"))

    def delete(self, *names: str, grace_seconds: int | None = None) -> None:
        """Delete pods; None keeps each pod's own grace period. It is no error if a pod does not exist."""
        for name in names:
            self._api.delete(PODS, name, self._namespace, grace_seconds=grace_seconds)
        recorder.record(recorder.Action(f"deleted pods {listed(names)}"))

    def delete_all(self) -> None:
        """Delete every pod that a test created, those of killed runs included."""
        self._api.delete_all(PODS, self._namespace, labels=SELECTOR, grace_seconds=0)


def manifest(name: str, namespace: str, request: PodRequest, templates: Mapping[Role, Pod]) -> dict[str, Any]:
    """Return the requested pod, made from the sample pods of its roles."""
    samples = [copy.deepcopy(dict(templates[role]["spec"])) for role in request.roles]
    containers = [
        {**container, "name": str(role), **request.container, **_command(request, role)}
        for role, sample in zip(request.roles, samples, strict=True)
        for container in sample["containers"]
    ]
    spec = {**samples[0], **_security_context(samples), **request.spec, "containers": containers}
    spec.pop("nodeName", None)
    if request.node:
        spec["nodeName"] = request.node
    metadata = {"name": name, "namespace": namespace, "labels": {**request.labels, **LABELS}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _security_context(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the security context of a pod with the containers of these: that of the first, with the sysctls of all."""
    contexts = [sample.get("securityContext") or {} for sample in samples]
    sysctls = [sysctl for context in contexts for sysctl in context.get("sysctls", ())]
    context = {**contexts[0], **({"sysctls": sysctls} if sysctls else {})}
    return {"securityContext": context} if context else {}


def foreign_containers(names: Collection[str], stored: Pod) -> tuple[str, ...]:
    """Return the containers that a pod has beside those of these names, each with its image; init containers count."""
    spec = stored["spec"]
    containers = (*spec["containers"], *(spec.get("initContainers") or ()))
    return tuple(f"{each['name']} ({each.get('image')})" for each in containers if each["name"] not in names)


def foreign_containers_error(stored: Pod, containers: Sequence[str]) -> ClusterError:
    """Return what to raise for a pod with containers that the suite did not request."""
    return ClusterError(
        f"something added {listed(containers)} to pod {stored['metadata']['name']}: a proxy in the pod chooses"
        " endpoints itself, so session affinity of the Service cannot be judged",
        next_step=f"exempt namespace {stored['metadata'].get('namespace')} from injection: the pods of the suite opt"
        " out of Istio, Linkerd, Kuma and Consul already; --namespace-label sets a label for another injector",
    )


def require_own_containers(requested: Pod, stored: Pod) -> None:
    """Raise ClusterError, naming them, when a pod as stored has containers that were not requested."""
    spec = requested["spec"]
    names = {each["name"] for each in (*spec["containers"], *(spec.get("initContainers") or ()))}
    if foreign := foreign_containers(names, stored):
        raise foreign_containers_error(stored, foreign)


def _command(request: PodRequest, role: Role) -> dict[str, list[str]]:
    return {"command": list(request.commands[role]), "args": []} if role in request.commands else {}


def ready_pods(api: Api, namespace: str, names: Collection[str]) -> dict[str, Pod]:
    """Return the named pods that are Ready, in the order of the names."""
    pods = {pod["metadata"]["name"]: pod for pod in api.objects(PODS, namespace)}
    return {name: pods[name] for name in names if name in pods and pod_state.is_ready(pods[name])}


def wait_for_ready(api: Api, namespace: str, names: Sequence[str], seconds: float) -> dict[str, Pod]:
    """Wait until pods are Ready and return them by name; raises NotReadyError, at once for a pod that will not run."""
    ready: dict[str, Pod] = {}

    def all_ready() -> bool:
        pods = {pod["metadata"]["name"]: pod for pod in api.objects(PODS, namespace)}
        waited_for = [pods[name] for name in names if name in pods]
        ready.update({pod["metadata"]["name"]: pod for pod in waited_for if pod_state.is_ready(pod)})
        if len(ready) < len(names):
            _raise_if_stuck(waited_for)
        return len(ready) == len(names)

    def late() -> str:
        messages = events.last_messages(api, namespace)
        states = {pod["metadata"]["name"]: _state(pod, messages) for pod in api.objects(PODS, namespace)}
        return ", ".join(f"{name} ({states.get(name, 'absent')})" for name in names if name not in ready)

    wait_until(
        all_ready,
        seconds,
        what=f"pods in namespace {namespace} to be Ready: {listed(names)}",
        last_state=lambda: f"not Ready: {late()}",
        next_step=f"check that their nodes can run them; {SLOW_MACHINE}",
        pause=PODS_PAUSE,
    )
    return {name: ready[name] for name in names}


def pod_refusal(pod: Pod, error: ApiError) -> ClusterError:
    """Return the error to raise when the API refuses a pod."""
    metadata = pod["metadata"]
    return ClusterError(
        f"the API refused pod {metadata['name']} in namespace {metadata['namespace']}: {error.what}",
        next_step="check quotas and admission policies of the namespace: no claim can be tested without the pod",
    )


def _raise_if_stuck(pods: Iterable[Pod]) -> None:
    """Raise NotReadyError if a pod will not run: its image cannot be pulled, or it cannot be scheduled."""
    if reasons := [reason for reason in map(pod_state.trouble, pods) if reason]:
        raise NotReadyError(
            first_text(reasons),
            next_step="--list-images prints the needed images, --image-registry pulls them from a mirror; no claim can "
            "be tested without these pods",
        )


def _state(pod: Pod, messages: Mapping[str, str]) -> str:
    """Return a pod's phase, and the message of the last event about it."""
    if pod_state.is_ready(pod):
        return "Ready"
    phase, message = str(pod.get("status", {}).get("phase", "unknown")), messages.get(pod["metadata"]["name"])
    return f"{phase}: {message}" if message else phase
