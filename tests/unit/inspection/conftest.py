"""A Service with three endpoints and what is around it, as the API has it, for diagnoses."""

from __future__ import annotations

from typing import Any

from session_affinity.dataplane.model import Endpoint
from session_affinity.inspection.diagnoses import diagnose
from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.objects import InspectedObjects
from session_affinity.inspection.observation import (
    BoundClient,
    ClientIdentity,
    ClientKind,
    NodeReading,
    Observation,
    StoreUse,
)

NAMESPACE = "shop"
WORKERS = ("worker1", "worker2", "worker3")
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"cart-{number}", node) for number, node in enumerate(WORKERS, 1))
POD = ClientIdentity(ClientKind.POD, "shop/client")
OUTSIDE = ClientIdentity(ClientKind.OUTSIDE)


def service(
    metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """Return a Service with ClientIP; fields of its specification that are None are left out."""
    fields = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7"],
        "ipFamilies": ["IPv4"],
        "selector": {"app": "cart"},
        "ports": [{"name": "web", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        **spec,
    }
    return {
        "metadata": {"name": "cart", "namespace": NAMESPACE, **(metadata or {})},
        "spec": {name: value for name, value in fields.items() if value is not None},
        "status": status or {},
    }


def endpoint_slice(*, ready: bool = True, nodes: tuple[str, ...] = WORKERS, port: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"name": "cart-x", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "cart"}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [endpoint.address],
                "conditions": {"ready": ready},
                "nodeName": endpoint.node,
                "targetRef": {"kind": "Pod", "name": endpoint.pod, "namespace": NAMESPACE},
            }
            for endpoint in ENDPOINTS
            if endpoint.node in nodes
        ],
        "ports": [{"name": port, "protocol": "TCP", "port": 80}],
    }


def pod(
    name: str, *containers: str, address: str = "", metadata: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": name.partition("-")[0]},
            **(metadata or {}),
        },
        "spec": {"containers": [{"name": container} for container in ("app", *containers)], **spec},
        "status": {"phase": "Running", "podIPs": [{"ip": address}] if address else []},
    }


def node(name: str, number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDRs": [f"10.10.{number}.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"172.30.0.{number}"}]},
    }


def objects(made: dict[str, Any] | None = None, **changes: Any) -> InspectedObjects:
    everything = {
        "slices": (endpoint_slice(),),
        "pods": tuple(pod(endpoint.pod, address=endpoint.address) for endpoint in ENDPOINTS),
        "nodes": tuple(node(name, number) for number, name in enumerate(WORKERS, 1)),
    }
    return InspectedObjects(made or service(), **{**everything, **changes})


def binding(client: str = "10.10.9.9", on: str = "worker1", to: int = 0, **changes: Any) -> BoundClient:
    """Return a client that is bound; ``to`` is the number of its endpoint."""
    values = {
        "node": on,
        "family": "IPv4",
        "port": "web",
        "store": f"KUBE-SEP-{to}",
        "endpoint": ENDPOINTS[to],
        "client": client,
        "age": 3.0,
        "seconds_left": 10797.0,
        "connections": 4,
    }
    return BoundClient(**{**values, **changes})


def reading(name: str = "worker1", *bindings: BoundClient, **changes: Any) -> NodeReading:
    return NodeReading(**{"node": name, "mode": "iptables", "bindings": bindings, **changes})


def store(live: int, capacity: int | None = 100, kind: str = "list") -> StoreUse:
    return StoreUse("worker1", "KUBE-SEP-0", ENDPOINTS[0], kind, live, live, capacity)


def observation(made: InspectedObjects | None = None, *nodes: NodeReading, **changes: Any) -> Observation:
    """Return an observation of healthy nodes unless others are given."""
    readings = nodes or tuple(reading(name) for name in WORKERS)
    return Observation(made or objects(), readings, **{"modes": ("iptables",), **changes})


def diagnosed(seen: Observation) -> dict[str, Diagnosis]:
    """Return the diagnoses by id; each is made once."""
    diagnoses = diagnose(seen)
    by_id = {diagnosis.id: diagnosis for diagnosis in diagnoses}
    assert len(by_id) == len(diagnoses)
    return by_id


def broken(seen: Observation) -> list[str]:
    return [name for name, diagnosis in diagnosed(seen).items() if diagnosis.severity is Severity.BROKEN]
