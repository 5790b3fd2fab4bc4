"""Proxies of service meshes in pods: they choose endpoints themselves, so that the Service's rules are not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from session_affinity.inspection.objects import Object

CONTAINERS: Final = {
    "istio-proxy": "Istio",
    "istio-init": "Istio",
    "istio-validation": "Istio",
    "linkerd-proxy": "Linkerd",
    "linkerd-init": "Linkerd",
    "linkerd-network-validator": "Linkerd",
    "kuma-sidecar": "Kuma",
    "kuma-init": "Kuma",
    "consul-dataplane": "Consul",
    "consul-connect-inject-init": "Consul",
    "envoy-sidecar": "Envoy",
    "envoy": "Envoy",
    "nginx-mesh-sidecar": "NGINX Service Mesh",
    "osm-init": "Open Service Mesh",
    "proxyinit": "App Mesh",
}
"""The containers that injectors add to pods, and their meshes."""
_ALSO_APPLICATIONS: Final = frozenset({"envoy"})
"""Names that an application may have too: only beside another container they are taken for a proxy."""
AMBIENT: Final = "ambient.istio.io/redirection"
"""The annotation by which Istio's ambient mode marks pods whose traffic its ztunnel takes."""


def mesh_proxies(pod: Object) -> tuple[str, ...]:
    """Return the proxies of meshes in a pod, init containers included, as ``istio-proxy (Istio)``."""
    spec = pod.get("spec") or {}
    containers = [str(container.get("name")) for container in spec.get("containers") or ()]
    init_containers = [str(container.get("name")) for container in spec.get("initContainers") or ()]
    names = [
        name
        for name in (*containers, *init_containers)
        if name in CONTAINERS and not (name in _ALSO_APPLICATIONS and containers == [name])
    ]
    proxies = [f"{name} ({CONTAINERS[name]})" for name in names]
    if (pod["metadata"].get("annotations") or {}).get(AMBIENT) == "enabled":
        proxies.append("ztunnel (Istio ambient mode)")
    return tuple(dict.fromkeys(proxies))
