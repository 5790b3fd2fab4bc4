"""What stands in front of the Service: load balancers, and routes whose controllers lead to pods directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.objects import LOAD_BALANCER
from session_affinity.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.inspection.objects import InspectedObjects
    from session_affinity.inspection.observation import Observation

FAILED: Final = "SyncLoadBalancerFailed"
"""The reason of the events of the cloud provider's service controller."""
AWS: Final = "service.beta.kubernetes.io/aws-load-balancer-"
AWS_CLASSES: Final = ("service.k8s.aws/", "eks.amazonaws.com/")
AWS_ATTRIBUTES: Final = f"{AWS}target-group-attributes"
AWS_TARGET_TYPE: Final = f"{AWS}nlb-target-type"
AZURE: Final = "service.beta.kubernetes.io/azure-"


def refused_by_load_balancer(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the load balancer could not be made, above all because it refuses ClientIP."""
    objects = observation.objects
    failures = [event for event in objects.events or () if event.get("reason") == FAILED]
    if objects.type != LOAD_BALANCER or not failures:
        return
    message = str(failures[-1].get("message") or "")
    if "affinity" in message.lower():
        yield Diagnosis(
            "load-balancer-refuses-client-ip",
            Severity.BROKEN,
            "The load balancer refuses sessionAffinity ClientIP, so that none was made or changed for the Service.",
            "set sessionAffinity None and configure stickiness at the load balancer; on AWS use the AWS Load Balancer"
            f" Controller with {AWS_ATTRIBUTES}: stickiness.enabled=true,stickiness.type=source_ip",
            ("C67",),
            (message,),
        )
    else:
        yield Diagnosis(
            "load-balancer-failed",
            Severity.POSSIBLE,
            "The load balancer of the Service could not be made or changed.",
            f"kubectl describe service -n {objects.namespace} {objects.name} shows the events",
            ("C67",),
            (message,),
        )


def load_balancer_chooses_node(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that a load balancer chooses the node of each connection, with what its annotations say about it."""
    objects = observation.objects
    if objects.type != LOAD_BALANCER or not objects.has_affinity:
        return
    vendor = _vendor(objects)
    if vendor == "AWS" and "stickiness.enabled=true" in objects.annotations.get(AWS_ATTRIBUTES, ""):
        return
    ingress = ((objects.service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if not ingress and not vendor:
        return
    what, next_step = _BY_VENDOR[vendor]
    severity = Severity.POSSIBLE
    if vendor == "AWS" and objects.annotations.get(AWS_TARGET_TYPE) == "ip":
        what = (
            "The load balancer leads to the pods themselves (nlb-target-type ip): the nodes' rules, and with them"
            " ClientIP, are not used for clients from outside."
        )
        severity = Severity.BROKEN
    yield Diagnosis("load-balancer-chooses-node", severity, what, next_step, ("C67", "C31b"))


def routes_in_front(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which Ingresses and HTTPRoutes refer to the Service."""
    objects = observation.objects
    routes = [
        f"{route.get('kind') or 'Ingress'} {route['metadata']['name']}"
        for route in objects.routes or ()
        if objects.name in _backends(route)
    ]
    if routes:
        yield Diagnosis(
            "route-in-front",
            Severity.POSSIBLE,
            f"{listed(routes)} {'refers' if len(routes) == 1 else 'refer'} to the Service: most controllers send"
            " requests to the pods directly and ignore ClientIP.",
            "configure affinity at the controller, such as by cookie (nginx.ingress.kubernetes.io/affinity: cookie), or"
            " let it use the cluster IP (nginx.ingress.kubernetes.io/service-upstream)",
            ("C10",),
        )


DIAGNOSES = (refused_by_load_balancer, load_balancer_chooses_node, routes_in_front)

_BY_VENDOR: Final = {
    "AWS": (
        "AWS's load balancer chooses a node for each connection, and ClientIP does not make it sticky.",
        (
            f"set the annotation {AWS_ATTRIBUTES}: stickiness.enabled=true,stickiness.type=source_ip (network load"
            " balancer, AWS Load Balancer Controller); the classic one refuses ClientIP"
        ),
    ),
    "Azure": (
        (
            "Azure's load balancer chooses a node for each connection by its session persistence, which its cloud"
            " provider sets from sessionAffinity, in old releases only when the rule is created"
            " (kubernetes/kubernetes#63908)."
        ),
        "see whether the session persistence of its rules is Client IP; if not, recreate the Service",
    ),
    "": (
        "A load balancer chooses a node for each connection, and every node binds clients by itself.",
        "see whether the load balancer keeps a client on one node (source IP affinity) and keeps client addresses",
    ),
}


def _vendor(objects: InspectedObjects) -> str:
    load_balancer_class = str(objects.spec.get("loadBalancerClass") or "")
    ingress = ((objects.service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    hosts = [str(address.get("hostname") or "") for address in ingress]
    if (
        any(name.startswith(AWS) for name in objects.annotations)
        or load_balancer_class.startswith(AWS_CLASSES)
        or any(host.endswith(".amazonaws.com") for host in hosts)
    ):
        return "AWS"
    return "Azure" if any(name.startswith(AZURE) for name in objects.annotations) else ""


def _backends(route: Mapping[str, Any]) -> set[str]:
    """Return the names of the Services that an Ingress or an HTTPRoute of the same namespace refers to."""
    spec, namespace = route.get("spec") or {}, route["metadata"].get("namespace")
    backends = [spec.get("defaultBackend") or {}]
    names: set[str] = set()
    for rule in spec.get("rules") or ():
        backends += [path.get("backend") or {} for path in (rule.get("http") or {}).get("paths") or ()]
        names |= {
            str(backend.get("name"))
            for backend in rule.get("backendRefs") or ()
            if backend.get("kind", "Service") == "Service" and backend.get("namespace", namespace) == namespace
        }
    return names | {str((backend.get("service") or {}).get("name")) for backend in backends if backend.get("service")}
