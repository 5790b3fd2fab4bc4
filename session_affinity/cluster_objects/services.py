"""The Services under test: each its own, over the sample pods that all of them share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from session_affinity import recorder
from session_affinity.cluster_objects.labels import PART_OF, unique_name
from session_affinity.dataplane.model import ServiceState
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES
from session_affinity.text import listed
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api, Object

LABELS: Final = {"app.kubernetes.io/part-of": PART_OF, "app.kubernetes.io/component": "service-under-test"}
SELECTOR: Final = ",".join(f"{name}={value}" for name, value in LABELS.items())
"""Selects every Service that a test made, of this run or of one that was killed."""

NO_AFFINITY: Final = "None"
DEFAULT_TIMEOUT: Final = 10800
PORT: Final = 9000
BACKEND: Final = {"app": "webpod"}
ENDPOINTS_PAUSE: Final = 0.1
"""Seconds between two looks at endpoints that are to change."""
AT_ONCE: Final = 4
"""How many Services are made or changed at the same time, on a machine that is not slow."""


@dataclass(frozen=True)
class ServiceRequest:
    """A Service to be made: a short name of what it is for, its affinity, and its timeout or the API's default.

    ``spec`` are further fields of the Service's specification, in place of the usual ones where they meet: its type,
    ports, selector, policies, families. ``endpoints`` is how many ready endpoints each port is to have before the
    Service is used, those of the sample pods unless said otherwise; 0 waits for none.
    """

    purpose: str
    affinity: str = NO_AFFINITY
    timeout_seconds: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    endpoints: int | None = None


class Services:
    """Makes, changes and removes Services in one namespace; may be shared by threads.

    ``endpoints`` is how many ready endpoints a port is to have before it is used, where a wish does not say.
    ``family`` is the IP family that Services are seen in, which is the cluster's primary one unless ``spec``, further
    fields of every Service's specification, asks for another.
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
        # A server that is slow gets slower by being asked for several things at once.
        self._at_once = max(round(AT_ONCE / deadlines.scale), 1)

    def in_family(self, family: Family) -> Services:
        """Return a maker of Services that have addresses of this family only, which need not be the primary one."""
        only = {"ipFamilyPolicy": "SingleStack", "ipFamilies": [family]}
        return Services(
            self._api, self._namespace, self._endpoints, family=family, spec=only, deadlines=self._deadlines
        )

    def create(self, wish: ServiceRequest) -> ServiceState:
        """Make a Service and wait for its endpoints; raises NotReadyError."""
        return self.create_all([wish])[0]

    def create_all(self, wishes: Sequence[ServiceRequest]) -> list[ServiceState]:
        """Make several Services and wait for the endpoints of all; raises NotReadyError."""
        own = [replace(wish, spec={**self._spec, **wish.spec}) for wish in wishes]
        manifests = [manifest(unique_name(wish.purpose), self._namespace, wish) for wish in own]
        return self._make(manifests, [wish.endpoints for wish in wishes])

    def create_anew(self, given: Mapping[str, Any]) -> ServiceState:
        """Make the Service of a manifest, in place of one of the same name, and wait for its endpoints."""
        metadata = {**given["metadata"], "namespace": self._namespace}
        labels = {**metadata.get("labels", {}), **LABELS}
        self._api.delete(SERVICES, metadata["name"], self._namespace)
        return self._make([{**given, "metadata": {**metadata, "labels": labels}}], [None])[0]

    def _make(self, manifests: Sequence[Mapping[str, Any]], endpoints: Sequence[int | None]) -> list[ServiceState]:
        wanted = [self._endpoints if number is None else number for number in endpoints]
        began = time.time()
        with ThreadPoolExecutor(min(self._at_once, len(manifests)), thread_name_prefix="create") as pool:
            stored = list(pool.map(self._api.create, manifests))
        states: list[ServiceState] = []
        slices: list[Object] = []

        def late() -> list[tuple[ServiceState, int]]:
            return [pair for pair in zip(states, wanted, strict=True) if not _has(*pair)]

        def all_have_endpoints() -> bool:
            slices[:] = self._api.objects(ENDPOINT_SLICES, self._namespace, labels=SELECTOR)
            states[:] = [ServiceState.from_objects(one, slices, family=self.family) for one in stored]
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
            what=f"ready endpoints of {listed([one['metadata']['name'] for one in stored])}",
            last_state=lacking,
            next_step="see whether the pods behind it are Ready and the controller manager runs",
        )
        recorder.record(recorder.ServiceStored(tuple(states), tuple(stored), tuple(slices)), since=began)
        return states

    def change(self, service: ServiceState, spec: Mapping[str, Any]) -> None:
        """Change fields of a Service's specification in place, not waiting for what follows from it."""
        self._api.patch(SERVICES, service.name, service.namespace, {"spec": spec})

    def await_endpoints(self, wanted: Mapping[str, Collection[str]]) -> dict[str, ServiceState]:
        """Wait until Services, by name, have just these pods as endpoints of every port; return them as stored.

        Raises NotReadyError.
        """
        states: dict[str, ServiceState] = {}

        def late() -> list[str]:
            return [name for name, pods in wanted.items() if name not in states or _pods(states[name]) != {*pods}]

        def all_are_there() -> bool:
            slices = self._api.objects(ENDPOINT_SLICES, self._namespace, labels=SELECTOR)
            stored = self._api.objects(SERVICES, self._namespace, labels=SELECTOR)
            own = [one for one in stored if one["metadata"]["name"] in wanted]
            known = [ServiceState.from_objects(one, slices, family=self.family) for one in own]
            states.update({state.name: state for state in known})
            return not late()

        def lacking() -> str:
            name = late()[0]
            has = ", ".join(map(str, states[name].endpoints)) if name in states else "no such Service"
            return (
                f"{len(late())} of {len(wanted)} Services do not have the endpoints they should; "
                f"{name} has {has or 'none'}, expected {', '.join(wanted[name]) or 'none'}"
            )

        wait_until(
            all_are_there,
            self._deadlines.endpoints,
            what=f"changed endpoints of {listed(list(wanted))}",
            last_state=lacking,
            next_step=f"see whether the controller manager runs; {SLOW_MACHINE}",
            pause=ENDPOINTS_PAUSE,
        )
        return {name: states[name] for name in wanted}

    def switch(self, service: ServiceState, affinity: str, timeout_seconds: int | None = None) -> ServiceState:
        """Change a Service's affinity in place and return it as stored."""
        change = {"spec": {"sessionAffinity": affinity, **_config(timeout_seconds)}}
        began = time.time()
        stored = self._api.patch(SERVICES, service.name, service.namespace, change)
        changed = _with_endpoints_of(service, stored)
        recorder.record(recorder.ServiceStored((changed,), (stored,), how=recorder.CHANGED), since=began)
        return changed

    def patch_timeouts(self, services: Sequence[ServiceState], timeout_seconds: int) -> list[ServiceState]:
        """Change the timeout of Services in place and return them as stored."""
        change = {"spec": _config(timeout_seconds)}
        began = time.time()
        with ThreadPoolExecutor(min(self._at_once, len(services)), thread_name_prefix="patch") as pool:
            stored = list(pool.map(lambda one: self._api.patch(SERVICES, one.name, one.namespace, change), services))
        changed = [_with_endpoints_of(service, new) for service, new in zip(services, stored, strict=True)]
        recorder.record(recorder.ServiceStored(tuple(changed), tuple(stored), how=recorder.CHANGED), since=began)
        return changed

    def stored(self, service: ServiceState) -> tuple[Object, list[Object]]:
        """Return a Service and its EndpointSlices as the API has them."""
        return self._api.service_with_slices(service.namespace, service.name)

    def seen_in(self, family: Family, service: ServiceState) -> ServiceState:
        """Return a Service as it is in another of its families, once it has as many endpoints there.

        Raises NotReadyError when it has not in time, or has no address of that family.
        """
        states: list[ServiceState] = []

        def has_endpoints() -> bool:
            states[:] = [ServiceState.from_objects(*self.stored(service), family=family)]
            return len(states[0].endpoints) == len(service.endpoints)

        next_step = "see whether --service-cluster-ip-range of the API server has ranges of both families"
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
        """Remove a Service; one that is gone already is no error."""
        began = time.time()
        self._api.delete(SERVICES, service.name, service.namespace)
        recorder.record(recorder.Action(f"removed Service {service.key}"), since=began)

    def delete_all(self) -> None:
        """Remove every Service that a test made, also those that a killed run left."""
        self._api.delete_all(SERVICES, self._namespace, labels=SELECTOR)


def manifest(name: str, namespace: str, wish: ServiceRequest) -> Object:
    """Return the Service that a wish asks for; what the API has a default for is left out."""
    spec: dict[str, Any] = {
        "selector": dict(BACKEND),
        "ports": [{"name": "web", "port": PORT, "targetPort": 80, "protocol": "TCP"}],
    }
    if wish.affinity != NO_AFFINITY:
        spec |= {"sessionAffinity": wish.affinity, **_config(wish.timeout_seconds)}
    metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {**spec, **wish.spec}}


def _config(timeout_seconds: int | None) -> dict[str, Any]:
    if timeout_seconds is None:
        return {}
    return {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout_seconds}}}


def _pods(state: ServiceState) -> set[str]:
    """Return the pods that are endpoints; a port that lacks some of them counts as one without pods."""
    found = [{endpoint.pod for endpoint in port.endpoints} for port in state.ports]
    return found[0] if all(one == found[0] for one in found) else set()


def _has(state: ServiceState, number: int) -> bool:
    return not number or all(len(port.endpoints) == number for port in state.ports)


def _with_endpoints_of(service: ServiceState, stored: Mapping[str, Any]) -> ServiceState:
    """Return a Service as stored now, with the endpoints it had: they do not change with its affinity."""
    return replace(ServiceState.from_objects(stored, (), family=service.family), ports=service.ports)
