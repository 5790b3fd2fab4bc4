"""Hand-made Services: Services without selector and their EndpointSlices, created, changed and deleted in bulk.

No pod and no controller is involved: the API stores what a manifest says, and kube-proxy programs it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

from session_affinity import recorder
from session_affinity.cluster_objects.capacity import NoRoomError, is_for_lack_of_room
from session_affinity.cluster_objects.labels import SUITE, labels_of, selector
from session_affinity.dataplane.model import NEWEST_RELEASE, SERVICE_NAME_LABEL, ServiceState
from session_affinity.kube.reply import ApiError
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES, resource_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api, Object

MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
HAND_MADE: Final = "hand-made-service"
LABELS: Final = labels_of(HAND_MADE)
SELECTOR: Final = selector(LABELS)
"""Selects every hand-made Service and EndpointSlice, of this run or of one that was killed."""
REFUSED: Final = (400, 403, 422)
"""HTTP statuses with which a cluster refuses an object, by its rules or by a policy."""
AT_ONCE: Final = 8
"""How many requests are sent at the same time, on a machine that is not slow."""


class HandMadeServices:
    """Creates, changes and deletes hand-made Services and EndpointSlices in one namespace; may be shared by threads.

    Manifests are those of ``kubectl apply``: each gets the suite's label and the namespace. ``status.loadBalancer`` of
    a Service's manifest is stored by the subresource. ``at_once`` is how many requests are sent at the same time.
    ``component`` is a label of the objects: those of another component are not seen here.
    Every method raises ApiError when the API refuses a request.
    """

    def __init__(self, api: Api, namespace: str, *, at_once: int = AT_ONCE, component: str = HAND_MADE) -> None:
        self.namespace = namespace
        self._labels = labels_of(component)
        self._selector = selector(self._labels)
        self._api = api
        # Threads keep their connections: opening one takes longer than a request.
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="hand-made")
        self._manifests: dict[tuple[str, str], Object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; nothing can be created or changed after that."""
        self._pool.shutdown(cancel_futures=True)

    def create(self, manifests: Iterable[Mapping[str, Any]]) -> list[Object]:
        """Create objects, all Services before all slices, and return them in the given order as stored."""
        began = time.time()
        labelled = [self._labelled(manifest) for manifest in manifests]
        created = self._in_order(labelled, self._create)
        recorder.record(recorder.Action(f"created {_counted(labelled)}"), since=began)
        return created

    def create_accepted(self, groups: Sequence[Sequence[Mapping[str, Any]]]) -> dict[int, str]:
        """Create groups of objects, a Service first in each, and return the reasons of those that the API refused.

        The reasons are by the number of the group, of which nothing is left. Raises NoRoomError, and leaves nothing of
        any group, when the cluster has no address left for a Service or a quota is used up; ApiError for any other
        failure.
        """
        began = time.time()
        full: list[str] = []

        def create(group: Sequence[Mapping[str, Any]]) -> str:
            if full:
                return full[0]
            try:
                for manifest in group:
                    self._create(self._labelled(manifest))
            except ApiError as error:
                if is_for_lack_of_room(error):
                    full.append(error.what)
                elif error.status not in REFUSED:
                    raise
                self._delete_group(group)
                return error.what
            return ""

        reasons = dict(enumerate(self._pool.map(create, groups)))
        if full:
            list(self._pool.map(self._delete_group, groups))
            raise NoRoomError(full[0], next_step="see how many Service addresses are in use, and the quotas")
        recorder.record(recorder.Action(f"created {len(groups)} hand-made Services with their slices"), since=began)
        return {number: reason for number, reason in reasons.items() if reason}

    def change(self, manifests: Iterable[Mapping[str, Any]]) -> list[Object]:
        """Change existing objects to what these manifests say, and return them in the given order as stored.

        Fields that the object's last manifest had and the new one leaves out are removed; fields that the API filled in
        stay. Raises KeyError for an object that was not created here.
        """
        began = time.time()
        labelled = [self._labelled(manifest) for manifest in manifests]
        changed = self._in_order(labelled, self._change)
        recorder.record(recorder.Action(f"changed {_counted(labelled)}"), since=began)
        return changed

    def delete(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Delete objects by kind and name, all slices before all Services; it is no error if one does not exist."""
        began = time.time()
        labelled = [self._labelled(manifest) for manifest in manifests]
        self._in_order(labelled, self._delete, last=SERVICES)
        recorder.record(recorder.Action(f"deleted {_counted(labelled)}"), since=began)

    def delete_all(self) -> None:
        """Delete every hand-made object of the namespace, those of killed runs included."""
        for resource in (ENDPOINT_SLICES, SERVICES):
            self._api.delete_all(resource, self.namespace, labels=self._selector)
        self._manifests.clear()

    def stored(self) -> tuple[list[Object], list[Object]]:
        """Return the hand-made Services and EndpointSlices of the namespace as stored now."""
        services, slices = (
            self._pool.submit(self._api.objects, resource, self.namespace, labels=self._selector)
            for resource in (SERVICES, ENDPOINT_SLICES)
        )
        return services.result(), slices.result()

    def _in_order(
        self, manifests: Sequence[Object], request: Callable[[Object], Object], last: object = ENDPOINT_SLICES
    ) -> list[Object]:
        """Send one request an object, those of kind ``last`` when all others are answered; return the answers."""
        answers: dict[int, Object] = {}
        for is_last in (False, True):
            numbers = [
                number for number, manifest in enumerate(manifests) if (resource_of(manifest) is last) is is_last
            ]
            answers |= zip(numbers, self._pool.map(request, (manifests[number] for number in numbers)), strict=True)
        return [answers[number] for number in range(len(manifests))]

    def _create(self, manifest: Object) -> Object:
        stored = self._api.create({name: value for name, value in manifest.items() if name != "status"})
        self._manifests[_key(manifest)] = manifest
        return self._with_status(manifest, {}, stored)

    def _change(self, manifest: Object) -> Object:
        before = self._manifests[_key(manifest)]
        patch = merge_patch(before, manifest)
        patch.pop("status", None)
        name = manifest["metadata"]["name"]
        stored = self._api.patch(resource_of(manifest), name, self.namespace, patch)
        self._manifests[_key(manifest)] = manifest
        return self._with_status(manifest, before, stored)

    def _with_status(self, manifest: Object, before: Object, stored: Object) -> Object:
        if manifest.get("status") == before.get("status"):
            return stored
        balancer = (manifest.get("status") or {}).get("loadBalancer") or {}
        status = {"loadBalancer": {"ingress": list(balancer.get("ingress") or ())}}
        return self._api.patch_status(SERVICES, manifest["metadata"]["name"], self.namespace, status)

    def _delete_group(self, group: Sequence[Mapping[str, Any]]) -> None:
        for manifest in reversed(group):
            self._delete(self._labelled(manifest))

    def _delete(self, manifest: Object) -> Object:
        self._api.delete(resource_of(manifest), manifest["metadata"]["name"], self.namespace)
        return self._manifests.pop(_key(manifest), manifest)

    def _labelled(self, manifest: Mapping[str, Any]) -> Object:
        """Return a manifest with the suite's label in the namespace; slices are nobody else's to manage."""
        metadata = manifest["metadata"]
        managed = {MANAGED_BY_LABEL: SUITE} if manifest["kind"] == "EndpointSlice" else {}
        labels = {**metadata.get("labels", {}), **managed, **self._labels}
        return {**manifest, "metadata": {**metadata, "namespace": self.namespace, "labels": labels}}


def states(
    services: Iterable[Mapping[str, Any]],
    slices: Iterable[Mapping[str, Any]],
    *,
    family: Family = "IPv4",
    release: tuple[int, int] = NEWEST_RELEASE,
) -> list[ServiceState]:
    """Return the states of Services as stored, in their order; ``release`` is kube-proxy's.

    The same as ``ServiceState.from_objects`` for each, in time that grows with the number of objects only.
    """
    by_service: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for endpoint_slice in slices:
        by_service[endpoint_slice["metadata"].get("labels", {}).get(SERVICE_NAME_LABEL, "")].append(endpoint_slice)
    return [
        ServiceState.from_objects(service, by_service[service["metadata"]["name"]], family=family, release=release)
        for service in services
    ]


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """Return the JSON merge patch (RFC 7386) that turns one object into another; lists are replaced as a whole."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[name] = inner
        elif value != old or name not in before:
            patch[name] = value
    return patch


def _key(manifest: Mapping[str, Any]) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _counted(manifests: Sequence[Mapping[str, Any]]) -> str:
    services = sum(manifest["kind"] == "Service" for manifest in manifests)
    return f"{services} hand-made Services and {len(manifests) - services} EndpointSlices"
