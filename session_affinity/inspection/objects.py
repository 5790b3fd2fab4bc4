"""A Service and what the API has about it, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import CLIENT_IP, NEWEST_RELEASE, ServiceState, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.model import Family
    from session_affinity.releases import Release

    Object = Mapping[str, Any]

PROXY_NAME_LABEL: Final = "service.kubernetes.io/service-proxy-name"
"""kube-proxy leaves Services with this label to the program that it names (pkg/proxy/config, Run in server.go)."""
EXTERNAL_NAME: Final = "ExternalName"
LOAD_BALANCER: Final = "LoadBalancer"
NODE_PORT: Final = "NodePort"
ALL_FAMILIES: Final[tuple[Family, ...]] = ("IPv4", "IPv6")


@dataclass(frozen=True)
class InspectedObjects:
    """A Service, its EndpointSlices, and what else of the API bears on its affinity.

    ``pods`` are those of the Service's namespace, ``events`` those about the Service, ``routes`` the Ingresses and
    HTTPRoutes of its namespace. ``None`` stands for what could not be read.
    """

    service: Object
    slices: tuple[Object, ...] | None = ()
    pods: tuple[Object, ...] | None = ()
    nodes: tuple[Object, ...] | None = ()
    events: tuple[Object, ...] | None = ()
    routes: tuple[Object, ...] | None = ()

    @property
    def namespace(self) -> str:
        """The Service's namespace."""
        return str(self.service["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The Service's name."""
        return str(self.service["metadata"]["name"])

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def spec(self) -> Object:
        """The Service's specification."""
        spec: Object = self.service["spec"]
        return spec

    @property
    def type(self) -> str:
        """The Service's type."""
        return str(self.spec.get("type") or "ClusterIP")

    @property
    def annotations(self) -> Mapping[str, str]:
        """The Service's annotations."""
        return self.service["metadata"].get("annotations") or {}

    @property
    def proxy_name(self) -> str:
        """The program that handles the Service in place of kube-proxy; empty for kube-proxy."""
        return str((self.service["metadata"].get("labels") or {}).get(PROXY_NAME_LABEL, ""))

    @property
    def has_affinity(self) -> bool:
        """Whether sessionAffinity is ClientIP."""
        return self.spec.get("sessionAffinity") == CLIENT_IP

    @property
    def timeout_seconds(self) -> int | None:
        """The stored timeoutSeconds; None without affinity."""
        client_ip = (self.spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        seconds = client_ip.get("timeoutSeconds") if self.has_affinity else None
        return None if seconds is None else int(seconds)

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The cluster IPs; empty for a headless Service and for ExternalName."""
        addresses = self.spec.get("clusterIPs") or [self.spec.get("clusterIP")]
        return tuple(address for address in addresses if address and address != "None")

    @property
    def is_headless(self) -> bool:
        """Whether the Service has no cluster IP by choice: DNS leads to the pods themselves."""
        return self.type != EXTERNAL_NAME and "None" in (
            self.spec.get("clusterIP"),
            *(self.spec.get("clusterIPs") or ()),
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """The IP families of the Service, the primary one first."""
        stored = self.spec.get("ipFamilies") or tuple(map(family_of, self.cluster_ips)) or ("IPv4",)
        return tuple(family for family in stored if family in ALL_FAMILIES)

    @property
    def states(self) -> dict[Family, ServiceState]:
        """The Service as the newest kube-proxy programs it, by IP family (see ``states_of``)."""
        return self.states_of(NEWEST_RELEASE)

    def states_of(self, release: Release) -> dict[Family, ServiceState]:
        """Return the Service as a release of kube-proxy programs it, by IP family.

        It is without endpoints where the slices are not known.
        """
        slices = self.slices or ()
        return {
            family: ServiceState.from_objects(self.service, slices, family=family, release=release)
            for family in self.families
        }

    @property
    def selected_pods(self) -> tuple[Object, ...]:
        """The pods that the Service's selector matches; empty where it has none or pods could not be read."""
        selector = self.spec.get("selector") or {}
        if not selector:
            return ()
        return tuple(
            pod
            for pod in self.pods or ()
            if selector.items() <= (pod["metadata"].get("labels") or {}).items() and not is_over(pod)
        )

    @property
    def endpoint_pods(self) -> tuple[Object, ...]:
        """The pods behind the Service's endpoints, as far as they could be read."""
        names = {
            (endpoint.get("targetRef") or {}).get("name")
            for endpoint_slice in self.slices or ()
            for endpoint in endpoint_slice.get("endpoints") or ()
        }
        return tuple(pod for pod in self.pods or () if pod["metadata"]["name"] in names)

    def unready_endpoints(self) -> Iterator[tuple[str, str]]:
        """Yield the address and the pod, empty where there is none, of each endpoint that is not ready."""
        for endpoint_slice in self.slices or ():
            for endpoint in endpoint_slice.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    pod = (endpoint.get("targetRef") or {}).get("name") or ""
                    yield from ((str(address), str(pod)) for address in (endpoint.get("addresses") or ())[:1])


def is_over(pod: Object) -> bool:
    """Whether a pod has ended: its address may be another pod's by now."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def pod_addresses(pod: Object) -> tuple[str, ...]:
    """Return the addresses of a pod, one a family; those of its node for a pod on the host's network."""
    status = pod.get("status") or {}
    addresses = [address.get("ip") for address in status.get("podIPs") or ()] or [status.get("podIP")]
    return tuple(str(address) for address in addresses if address)


def node_addresses(node: Object) -> tuple[str, ...]:
    """Return the IP addresses of a node."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return tuple(
        str(address["address"]) for address in addresses if address.get("type") in ("InternalIP", "ExternalIP")
    )
