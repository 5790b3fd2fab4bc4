"""An inspection as JSON; docs/why-is-my-affinity-not-working.md documents the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.inspection.spread import spread_of

if TYPE_CHECKING:
    from session_affinity.inspection.objects import InspectedObjects
    from session_affinity.inspection.observation import BoundClient, NodeReading, Observation, StoreUse
    from session_affinity.inspection.result import Inspection

SCHEMA: Final = "session-affinity/inspection/v1"
"""The version of the keys: new ones may be added to it, none is renamed, removed or given another meaning."""


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Return the inspection with plain values."""
    observation = inspection.observation
    return {
        "schema": SCHEMA,
        "verdict": str(inspection.verdict),
        "undetermined": list(inspection.undetermined),
        "service": _service(observation.objects),
        "proxyModes": list(dict.fromkeys((*observation.modes, *(node.mode for node in observation.nodes)))),
        "nodes": [_node(node) for node in observation.nodes],
        "clients": [
            _client(observation, binding) for node in observation.nodes for binding in node.bindings if binding.is_live
        ],
        "spread": [
            {
                "family": share.family,
                "port": share.port,
                "endpoint": share.endpoint.at,
                "pod": share.endpoint.pod or None,
                "node": share.endpoint.node or None,
                "clients": share.clients,
            }
            for share in spread_of(observation)
        ],
        "stores": [_store(store) for node in observation.nodes for store in node.stores],
        "diagnoses": [
            {
                "id": diagnosis.id,
                "severity": str(diagnosis.severity),
                "what": diagnosis.what,
                "nextStep": diagnosis.next_step,
                "claims": list(diagnosis.claims),
                "evidence": list(diagnosis.evidence),
            }
            for diagnosis in inspection.diagnoses
        ],
        "unread": [
            {"what": unread.what, "why": unread.why, "decisive": unread.is_decisive} for unread in observation.unread
        ],
        "seconds": round(inspection.seconds, 3),
    }


def _service(objects: InspectedObjects) -> dict[str, Any]:
    spec = objects.spec
    return {
        "namespace": objects.namespace,
        "name": objects.name,
        "type": objects.type,
        "sessionAffinity": spec.get("sessionAffinity") or "None",
        "timeoutSeconds": objects.timeout_seconds,
        "clusterIPs": list(objects.cluster_ips),
        "ipFamilies": list(objects.families),
        "ports": [
            {
                "name": port.get("name"),
                "protocol": port.get("protocol") or "TCP",
                "port": port["port"],
                "targetPort": port.get("targetPort"),
                "nodePort": port.get("nodePort"),
            }
            for port in spec.get("ports") or ()
        ],
        "selector": spec.get("selector"),
        "internalTrafficPolicy": spec.get("internalTrafficPolicy"),
        "externalTrafficPolicy": spec.get("externalTrafficPolicy"),
        "endpoints": [
            {"family": family, "endpoint": at, "pod": endpoint.pod or None, "node": endpoint.node or None}
            for family, state in objects.states.items()
            for at, endpoint in {endpoint.at: endpoint for endpoint in state.endpoints}.items()
        ],
        "unreadyEndpoints": len(list(objects.unready_endpoints())),
    }


def _node(node: NodeReading) -> dict[str, Any]:
    return {
        "name": node.node,
        "proxyMode": node.mode,
        "rules": str(node.rules),
        "reason": node.not_read or node.not_compared or None,
        "differences": [
            {
                "place": difference.chain,
                "rule": difference.rule,
                "aspect": str(difference.aspect),
                "expected": difference.expected,
                "seen": difference.seen,
                "reason": difference.reason,
            }
            for difference in node.differences
        ],
    }


def _client(observation: Observation, binding: BoundClient) -> dict[str, Any]:
    identity = observation.client(binding.client)
    return {
        "address": binding.client,
        "kind": str(identity.kind),
        "name": identity.name or None,
        "node": binding.node,
        "family": binding.family,
        "port": binding.port,
        "endpoint": binding.endpoint.at,
        "pod": binding.endpoint.pod or None,
        "lastConnectionSecondsAgo": _rounded(binding.age),
        "secondsLeft": _rounded(binding.seconds_left),
        "connections": binding.connections,
    }


def _store(store: StoreUse) -> dict[str, Any]:
    return {
        "node": store.node,
        "name": store.store,
        "kind": store.kind,
        "endpoint": store.endpoint.at,
        "clients": store.live,
        "entries": store.listed,
        "capacity": store.capacity,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
