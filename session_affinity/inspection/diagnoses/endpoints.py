"""The endpoints behind the Service: whether there are any, and on which nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.objects import EXTERNAL_NAME
from session_affinity.text import first_lines, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.inspection.objects import InspectedObjects
    from session_affinity.inspection.observation import Observation


def selector_matches_nothing(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that no pod has the labels that the selector requires."""
    objects = observation.objects
    selector = objects.spec.get("selector") or {}
    if objects.pods is None or not selector or objects.selected_pods or objects.type == EXTERNAL_NAME:
        return
    labels = ",".join(f"{name}={value}" for name, value in selector.items())
    yield Diagnosis(
        "selector-matches-nothing",
        Severity.BROKEN,
        f"The selector {labels} matches no pod in namespace {objects.namespace}.",
        f"compare it with `kubectl get pods -n {objects.namespace} --show-labels`",
        ("C30", "C82"),
    )


def no_endpoints(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the Service, or one of its ports, has no endpoint that nodes use."""
    objects = observation.objects
    if objects.slices is None or objects.type == EXTERNAL_NAME:
        return
    unready = list(objects.unready_endpoints())
    states = objects.states.values()
    if not any(state.endpoints for state in states):
        yield Diagnosis(
            "no-endpoints",
            Severity.BROKEN,
            f"The Service has no ready endpoint{f', and {len(unready)} that are not ready' if unready else ''}: nodes"
            " refuse connections to it.",
            _next_step(objects, has_unready=bool(unready)),
            ("C27", "C30") if unready else ("C30",),
            tuple(first_lines([_unready(objects, *endpoint) for endpoint in unready])),
        )
        return
    empty = [str(port) for state in states if state.endpoints for port in state.ports if not port.endpoints]
    if empty:
        yield Diagnosis(
            "port-without-endpoints",
            Severity.BROKEN,
            f"Port {listed(empty)} has no ready endpoint, while other ports have.",
            "see whether its targetPort is a port of the pods, by number or by name",
            ("C30",),
        )


def family_without_endpoints(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the Service has endpoints in only one of its IP families."""
    objects = observation.objects
    if objects.slices is None or len(objects.states) < 2:
        return
    empty = [family for family, state in objects.states.items() if not state.endpoints]
    if 0 < len(empty) < len(objects.states):
        yield Diagnosis(
            "family-without-endpoints",
            Severity.BROKEN,
            f"The Service has no endpoint in {listed(empty)}: clients that use this address are refused.",
            "see whether the pods have an address of this family (kubectl get pods -o wide)",
            ("C45", "C61"),
        )


def internal_policy(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which nodes' clients are refused under internalTrafficPolicy Local."""
    objects = observation.objects
    if objects.spec.get("internalTrafficPolicy") == "Local" and (nodes := _nodes_without_endpoints(objects)):
        yield Diagnosis(
            "internal-policy-local",
            Severity.POSSIBLE,
            "internalTrafficPolicy is Local: clients reach only endpoints of their own node, and clients on"
            f" {listed(nodes)} are refused.",
            "use internalTrafficPolicy Cluster, or run a pod of the Service on each node that has clients",
            ("C46", "C46b", "C46c", "C46d"),
        )


def external_policy(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which nodes drop traffic from outside under externalTrafficPolicy Local."""
    objects = observation.objects
    if objects.spec.get("externalTrafficPolicy") == "Local" and (nodes := _nodes_without_endpoints(objects)):
        yield Diagnosis(
            "external-policy-local",
            Severity.NOTE,
            f"externalTrafficPolicy is Local: traffic from outside through {listed(nodes)} is dropped, and each other"
            " node binds clients to its own endpoints.",
            "let a load balancer with health checks choose among the nodes that have endpoints, or use"
            " externalTrafficPolicy Cluster",
            ("C32", "C32b", "C32c", "C32d"),
        )


DIAGNOSES = (
    selector_matches_nothing,
    no_endpoints,
    family_without_endpoints,
    internal_policy,
    external_policy,
)


def _next_step(objects: InspectedObjects, *, has_unready: bool) -> str:
    if has_unready:
        return f"see why the pods are not ready: kubectl describe pods -n {objects.namespace}"
    if not objects.spec.get("selector"):
        return "the Service has no selector: create EndpointSlices for it, or give it one"
    if objects.selected_pods:
        return "see whether the pods have addresses and the targetPort: kubectl describe endpointslices"
    return "start pods with the labels of the selector"


def _unready(objects: InspectedObjects, address: str, name: str) -> str:
    pod = next((pod for pod in objects.endpoint_pods if pod["metadata"]["name"] == name), None)
    reason = _why_not_ready(pod) if pod else ""
    return f"{address}{f' (pod {name})' if name else ''}: {reason or 'not ready'}"


def _why_not_ready(pod: Mapping[str, Any]) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "terminating"
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"container {container.get('name')} waits: {waiting['reason']}"
    conditions = status.get("conditions") or ()
    ready: Mapping[str, Any] = next((each for each in conditions if each.get("type") == "Ready"), {})
    return str(ready.get("message") or ready.get("reason") or "")


def _nodes_without_endpoints(objects: InspectedObjects) -> list[str]:
    """Return the nodes without an endpoint of the Service; empty where there is no endpoint at all."""
    used = {endpoint.node for state in objects.states.values() for endpoint in state.endpoints}
    return [
        str(node["metadata"]["name"]) for node in objects.nodes or () if used and node["metadata"]["name"] not in used
    ]
