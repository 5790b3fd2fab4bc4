"""The API paths of the kinds of objects that the suite uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Resource:
    """A kind of object; ``group_version`` is ``v1`` or ``group/version``."""

    group_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, of one object or of its subresource."""
        prefix = "/api" if "/" not in self.group_version else "/apis"
        where = ("namespaces", namespace) if self.namespaced and namespace else ()
        parts = (prefix, self.group_version, *where, self.plural, name, subresource)
        return "/".join(part for part in parts if part)


SERVICES: Final = Resource("v1", "services")
PODS: Final = Resource("v1", "pods")
NODES: Final = Resource("v1", "nodes", namespaced=False)
CONFIG_MAPS: Final = Resource("v1", "configmaps")
NAMESPACES: Final = Resource("v1", "namespaces", namespaced=False)
SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
SECRETS: Final = Resource("v1", "secrets")
EVENTS: Final = Resource("v1", "events")
DAEMON_SETS: Final = Resource("apps/v1", "daemonsets")
JOBS: Final = Resource("batch/v1", "jobs")
ROLES: Final = Resource("rbac.authorization.k8s.io/v1", "roles")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io/v1", "rolebindings")
CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False)
NETWORK_POLICIES: Final = Resource("networking.k8s.io/v1", "networkpolicies")
INGRESSES: Final = Resource("networking.k8s.io/v1", "ingresses")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "httproutes")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io/v1", "endpointslices")
RESOURCE_QUOTAS: Final = Resource("v1", "resourcequotas")
SERVICE_CIDRS: Final = Resource("networking.k8s.io/v1", "servicecidrs", namespaced=False)
IP_ADDRESSES: Final = Resource("networking.k8s.io/v1", "ipaddresses", namespaced=False)

_BY_KIND: Final = {
    ("v1", "Service"): SERVICES,
    ("v1", "Pod"): PODS,
    ("v1", "Node"): NODES,
    ("v1", "ConfigMap"): CONFIG_MAPS,
    ("v1", "Namespace"): NAMESPACES,
    ("v1", "ServiceAccount"): SERVICE_ACCOUNTS,
    ("v1", "Secret"): SECRETS,
    ("apps/v1", "DaemonSet"): DAEMON_SETS,
    ("batch/v1", "Job"): JOBS,
    ("rbac.authorization.k8s.io/v1", "Role"): ROLES,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ROLE_BINDINGS,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): CLUSTER_ROLES,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): CLUSTER_ROLE_BINDINGS,
    ("discovery.k8s.io/v1", "EndpointSlice"): ENDPOINT_SLICES,
}


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """Return the resource of an object's kind; raises UsageError for a kind that the suite does not handle."""
    kind = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
    if kind not in _BY_KIND:
        kinds = ", ".join(sorted(name for _, name in _BY_KIND))
        raise UsageError(f"the suite does not handle {kind[1]} of {kind[0]}", next_step=f"use one of {kinds}")
    return _BY_KIND[kind]
