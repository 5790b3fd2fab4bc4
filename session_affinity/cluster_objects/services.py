"""The Services under test: created, changed and deleted, over sample pods that all of them share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects.labels import labels_of, selector, unique_name
from session_affinity.dataplane.model import SERVICE_NAME_LABEL, ServiceState
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES
from session_affinity.text import listed
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api, Object

LABELS: Final = labels_of("service-under-test")
SELECTOR: Final = selector(LABELS)
"""Selects every Service that a test created, in this run or in a run that was killed."""

NO_AFFINITY: Final = "None"
DEFAULT_TIMEOUT: Final = 10800
PORT: Final = 9000
BACKEND: Final = {"app": "webpod"}
NO_PROVIDER: Final = "session-affinity-conformance/nobodys"
"""A loadBalancerClass without an implementation: no cloud provider creates a load balancer and charges for it."""
ENDPOINTS_PAUSE: Final = 0.1
"""Seconds between two reads of endpoints that are expected to change."""
AT_ONCE: Final = 4
"""How many requests for Services are sent at the same time, on a machine that is not slow."""


@dataclass(frozen=True)
class ServiceRequest:
    """A Service to be created; ``purpose`` is a part of its name, a timeout of None leaves the API's default.

    ``spec`` are further fields of the Service's specification, which replace the usual ones: type, ports, selector,
    policies, families. ``endpoints`` is the number of ready endpoints to wait for at each port; None is the number of
    sample pods, 0 waits for none.
    """

    purpose: str
    affinity: str = NO_AFFINITY
    timeout_seconds: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    endpoints: int | None = None


class Services:
    """Creates, changes and deletes Services in one namespace; may be shared by threads.

    ``endpoints`` is the number of ready endpoints to wait for if a request has none. ``family`` is the IP family of the
    returned states: the cluster's primary one, unless ``spec``, further fields of every Service's specification, names
    another.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        endpoints: int,
        *,
        family: Family = "IPv4",
        spec: Mapping[str, Any] = MappingProxyType({}),
        deadlines: Deadlines = DEFAULTS,
    ) -> None:
        self.family = family
        self._spec = spec
        self._deadlines = deadlines
        self._api = api
        self._namespace = namespace
        self._endpoints = endpoints
        # Several requests at the same time make a slow API server slower.
        self._at_once = max(round(AT_ONCE / deadlines.scale), 1)

    def in_family(self, family: Family) -> Services:
        """Return an object that creates Services with addresses of this family only, primary or not."""
        only = {"ipFamilyPolicy": "SingleStack", "ipFamilies": [family]}
        return Services(
            self._api, self._namespace, self._endpoints, family=family, spec=only, deadlines=self._deadlines
        )

    def create(self, request: ServiceRequest) -> ServiceState:
        """Create a Service and wait for its endpoints; raises NotReadyError."""
        return self.create_all([request])[0]

    def create_all(
        self, requests: Sequence[ServiceRequest], *, patched: Sequence[int | None] = ()
    ) -> list[ServiceState]:
        """Create several Services and wait for the endpoints of all; raises NotReadyError.

        ``patched`` has, for each, the timeout in seconds that it is patched to once it exists; None for none. Nobody
        waits for that: nodes may have the second timeout without the first.
        """
        complete = [replace(request, spec={**self._spec, **request.spec}) for request in requests]
        manifests = [manifest(unique_name(request.purpose), self._namespace, request) for request in complete]
        return self._create(manifests, [request.endpoints for request in requests], patched)

    def recreate(self, given: Mapping[str, Any]) -> ServiceState:
        """Delete the Service with the name of a manifest, create it from the manifest, and wait for its endpoints."""
        metadata = {**given["metadata"], "namespace": self._namespace}
        labels = {**metadata.get("labels", {}), **LABELS}
        self._api.delete(SERVICES, metadata["name"], self._namespace)
        return self._create([{**given, "metadata": {**metadata, "labels": labels}}], [None])[0]

    def _create(
        self,
        manifests: Sequence[Mapping[str, Any]],
        endpoints: Sequence[int | None],
        patched: Sequence[int | None] = (),
    ) -> list[ServiceState]:
        expected = [self._endpoints if number is None else number for number in endpoints]
        began = time.time()
        with ThreadPoolExecutor(min(self._at_once, len(manifests)), thread_name_prefix="create") as pool:
            stored = list(pool.map(self._api.create, manifests))
            for number, new in enumerate(pool.map(self._with_timeout, stored, patched)):
                stored[number] = new
        states: list[ServiceState] = []
        slices: list[Object] = []
        of_these = _slices_of(service["metadata"]["name"] for service in stored)

        def late() -> list[tuple[ServiceState, int]]:
            return [pair for pair in zip(states, expected, strict=True) if not _has(*pair)]

        def all_have_endpoints() -> bool:
            slices[:] = self._api.objects(ENDPOINT_SLICES, self._namespace, labels=of_these)
            states[:] = [ServiceState.from_objects(service, slices, family=self.family) for service in stored]
            return not late()

        def lacking() -> str:
            state, number = late()[0]
            has = ", ".join(map(str, state.endpoints)) or "none"
            return (
                f"{len(late())} of {len(states)} Services do not have {number} ready endpoints; {state.key} has {has}"
            )

        wait_until(
            all_have_endpoints,
            self._deadlines.endpoints,
            what=f"ready endpoints of {listed([service['metadata']['name'] for service in stored])}",
            last_state=lacking,
            next_step="check that the pods behind them are Ready and that the controller manager runs",
        )
        recorder.record(recorder.ServiceStored(tuple(states), tuple(stored), tuple(slices)), since=began)
        return states

    def _with_timeout(self, stored: Object, seconds: int | None) -> Object:
        return stored if seconds is None else self._patch_timeout(stored["metadata"]["name"], seconds)

    def _patch_timeout(self, name: str, seconds: int) -> Object:
        return self._api.patch(SERVICES, name, self._namespace, {"spec": _config(seconds)})

    def change(self, service: ServiceState, spec: Mapping[str, Any]) -> None:
        """Patch fields of a Service's specification without waiting for endpoints or nodes."""
        self._api.patch(SERVICES, service.name, service.namespace, {"spec": spec})

    def set_load_balancer(self, service: ServiceState, *addresses: str) -> None:
        """Set the addresses of a Service's load balancer, in its status, to these; raises ApiError."""
        change = {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}}
        self._api.patch(SERVICES, f"{service.name}/status", service.namespace, change)

    def wait_for_endpoints(self, expected: Mapping[str, Collection[str]]) -> dict[str, ServiceState]:
        """Wait until every port of each Service has exactly these pods as endpoints, and return the states by name.

        ``expected`` are the names of the pods, by the Service's name. Raises NotReadyError.
        """
        if not expected:
            return {}
        states: dict[str, ServiceState] = {}
        services = self._api.objects(SERVICES, self._namespace, labels=SELECTOR)
        stored = [service for service in services if service["metadata"]["name"] in expected]
        of_these = _slices_of(expected)

        def late() -> list[str]:
            return [name for name, pods in expected.items() if name not in states or _pods(states[name]) != {*pods}]

        def all_are_there() -> bool:
            slices = self._api.objects(ENDPOINT_SLICES, self._namespace, labels=of_these)
            for service in stored:
                states[service["metadata"]["name"]] = ServiceState.from_objects(service, slices, family=self.family)
            return not late()

        def lacking() -> str:
            name = late()[0]
            has = ", ".join(map(str, states[name].endpoints)) if name in states else "no such Service"
            return (
                f"{len(late())} of {len(expected)} Services do not have the expected endpoints; "
                f"{name} has {has or 'none'}, expected {', '.join(expected[name]) or 'none'}"
            )

        wait_until(
            all_are_there,
            self._deadlines.endpoints,
            what=f"changed endpoints of {listed(list(expected))}",
            last_state=lacking,
            next_step=f"check that the controller manager runs; {SLOW_MACHINE}",
            pause=ENDPOINTS_PAUSE,
        )
        return {name: states[name] for name in expected}

    def switch(self, service: ServiceState, affinity: str, timeout_seconds: int | None = None) -> ServiceState:
        """Patch a Service's affinity and return it as stored."""
        change = {"spec": {"sessionAffinity": affinity, **_config(timeout_seconds)}}
        began = time.time()
        stored = self._api.patch(SERVICES, service.name, service.namespace, change)
        changed = _with_endpoints_of(service, stored)
        recorder.record(recorder.ServiceStored((changed,), (stored,), how=recorder.CHANGED), since=began)
        return changed

    def patch_timeouts(self, services: Sequence[ServiceState], timeout_seconds: int) -> list[ServiceState]:
        """Patch the timeout of Services, in seconds, and return them as stored."""
        began = time.time()
        with ThreadPoolExecutor(min(self._at_once, len(services)), thread_name_prefix="patch") as pool:
            stored = list(pool.map(lambda service: self._patch_timeout(service.name, timeout_seconds), services))
        changed = [_with_endpoints_of(service, new) for service, new in zip(services, stored, strict=True)]
        recorder.record(recorder.ServiceStored(tuple(changed), tuple(stored), how=recorder.CHANGED), since=began)
        return changed

    def stored(self, service: ServiceState) -> tuple[Object, list[Object]]:
        """Return a Service and its EndpointSlices as stored."""
        return self._api.service_with_slices(service.namespace, service.name)

    def state_in(self, family: Family, service: ServiceState) -> ServiceState:
        """Return a Service's state in another of its IP families, when it has as many endpoints there.

        Raises NotReadyError if it does not get them in time, or has no cluster IP of that family.
        """
        states: list[ServiceState] = []

        def has_endpoints() -> bool:
            states[:] = [ServiceState.from_objects(*self.stored(service), family=family)]
            return len(states[0].endpoints) == len(service.endpoints)

        next_step = "check that --service-cluster-ip-range of the API server has ranges of both families"
        wait_until(
            has_endpoints,
            self._deadlines.endpoints,
            what=f"the {family} endpoints of Service {service.key}",
            last_state=lambda: f"{len(states[0].cluster_ips)} cluster IPs and {len(states[0].endpoints)} endpoints",
            next_step=next_step,
        )
        if not states[0].cluster_ips:
            raise NotReadyError(f"Service {service.key} has no {family} cluster IP", next_step=next_step)
        return states[0]

    def delete(self, service: ServiceState) -> None:
        """Delete a Service; it is no error if it does not exist."""
        began = time.time()
        self._api.delete(SERVICES, service.name, service.namespace)
        recorder.record(recorder.Action(f"deleted Service {service.key}"), since=began)

    def delete_all(self) -> None:
        """Delete every Service that a test created, those of killed runs included."""
        self._api.delete_all(SERVICES, self._namespace, labels=SELECTOR)


def manifest(name: str, namespace: str, request: ServiceRequest) -> Object:
    """Return the requested Service; fields with a default of the API are left out."""
    spec: dict[str, Any] = {
        "selector": dict(BACKEND),
        "ports": [{"name": "web", "port": PORT, "targetPort": 80, "protocol": "TCP"}],
    }
    if request.affinity != NO_AFFINITY:
        spec |= {"sessionAffinity": request.affinity, **_config(request.timeout_seconds)}
    metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {**spec, **request.spec}}


def tcp_ports(numbers: Iterable[int]) -> list[Object]:
    """Return ports of a Service to port 80 of its endpoints, named after their numbers."""
    return [{"name": f"t{number}", "port": number, "targetPort": 80, "protocol": "TCP"} for number in numbers]


def _slices_of(names: Iterable[str]) -> str:
    """Return the label selector of the EndpointSlices of some Services: those of all others are most of an answer."""
    return f"{SERVICE_NAME_LABEL} in ({','.join(names)})"


def _config(timeout_seconds: int | None) -> dict[str, Any]:
    if timeout_seconds is None:
        return {}
    return {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout_seconds}}}


def _pods(state: ServiceState) -> set[str]:
    """Return the names of the pods that are endpoints of every port; empty if the ports differ."""
    by_port = [{endpoint.pod for endpoint in port.endpoints} for port in state.ports]
    return by_port[0] if all(pods == by_port[0] for pods in by_port) else set()


def _has(state: ServiceState, number: int) -> bool:
    return not number or all(len(port.endpoints) == number for port in state.ports)


def _with_endpoints_of(service: ServiceState, stored: Mapping[str, Any]) -> ServiceState:
    """Return the state of a Service as stored now with its earlier endpoints, which do not depend on its affinity."""
    return replace(ServiceState.from_objects(stored, (), family=service.family), ports=service.ports)
