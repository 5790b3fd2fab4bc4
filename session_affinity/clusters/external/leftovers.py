"""Find and remove what runs that were killed left on a cluster, from any machine.

A run works in a namespace that it makes, and leaves that; or in an existing one, and leaves objects with its label.
Whether a run is over is decided by its lease (see ``lease``); what may belong to a run that goes on is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.labels import OF_SUITE
from session_affinity.clusters.external import lease
from session_affinity.clusters.external.lease import RunState
from session_affinity.clusters.external.namespace import PREFIX
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import (
    DAEMON_SETS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from session_affinity.text import listed
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.kube.api import Api

KINDS: Final = (DAEMON_SETS, SERVICES, ENDPOINT_SLICES, PODS, SERVICE_ACCOUNTS, SECRETS)
"""The kinds of objects that a run creates in its namespace, in the order of their removal."""


@dataclass
class Leftover:
    """What one run has in one namespace; ``is_namespace`` says that the namespace itself is the run's.

    ``objects`` are kinds and names, in the order of removal.
    """

    namespace: str
    run: str
    state: RunState
    owner: str
    created: str
    expires: str
    is_namespace: bool = False
    objects: list[tuple[Resource, str]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether the run is known to be over."""
        return self.state is not RunState.UNKNOWN

    def __str__(self) -> str:
        what = f"namespace {self.namespace}"
        if not self.is_namespace:
            names = listed([f"{resource.plural}/{name}" for resource, name in self.objects])
            what = f"{names} in namespace {self.namespace}"
        return f"{what}: {self._reason()}, created {self.created} by {self.owner}"

    def _reason(self) -> str:
        if self.state is RunState.OVER:
            return "left by a run of this machine that was killed"
        if self.state is RunState.EXPIRED:
            return f"expired {self.expires}"
        return f"may be in use until {self.expires}" if self.expires else "may be in use"


def find_namespaces(api: Api) -> list[Leftover]:
    """Return the namespaces that runs made and that are not being deleted already; raises ApiError."""
    found = []
    for namespace in api.objects(NAMESPACES, labels=OF_SUITE):
        metadata = namespace["metadata"]
        if metadata["name"].startswith(PREFIX) and "deletionTimestamp" not in metadata:
            found.append(_leftover(namespace, metadata["name"], is_namespace=True))
    return found


def find_objects(
    api: Api, namespace: str = "", *, kinds: Sequence[Resource] = KINDS, without: Sequence[str] = ()
) -> list[Leftover]:
    """Return what runs have in an existing namespace, or in all but ``without``; raises ApiError."""
    found: dict[tuple[str, str], Leftover] = {}
    for resource in kinds:
        for thing in api.objects(resource, namespace, labels=OF_SUITE):
            metadata = thing["metadata"]
            # What a controller made goes with its owner.
            if metadata["namespace"] in without or metadata.get("ownerReferences"):
                continue
            if "deletionTimestamp" in metadata:
                continue
            leftover = _leftover(thing, metadata["namespace"])
            found.setdefault((leftover.namespace, leftover.run), leftover).objects.append((resource, metadata["name"]))
    return list(found.values())


def add(leftovers: list[Leftover], more: Sequence[Leftover]) -> None:
    """Add leftovers to a list; the objects of one run in one namespace become one leftover."""
    for other in more:
        for leftover in leftovers:
            if (leftover.namespace, leftover.run, leftover.is_namespace) == (other.namespace, other.run, False):
                leftover.objects += other.objects
                break
        else:
            leftovers.append(other)


def remove(api: Api, leftovers: Sequence[Leftover], *, deadlines: Deadlines = DEFAULTS) -> None:
    """Remove what runs left and wait until it is gone; raises ApiError, and ClusterError naming what stays."""
    begin_removal(api, leftovers)
    left: list[str] = []

    def all_gone() -> bool:
        left[:] = [name for leftover in leftovers for name in _present(api, leftover)]
        return not left

    if not poll(all_gone, deadlines.namespace_removal, pause=0.2):
        raise ClusterError(
            f"deleted and still there after {deadlines.namespace_removal:.0f} s: {listed(left)}",
            next_step="kubectl describe them: a finalizer, or a node that does not answer, may keep them",
        )


def begin_removal(api: Api, leftovers: Sequence[Leftover]) -> None:
    """Delete what runs left without waiting; raises ApiError."""
    for leftover in leftovers:
        if leftover.is_namespace:
            api.delete(NAMESPACES, leftover.namespace)
        for resource, name in leftover.objects:
            grace = 0 if resource is PODS else None
            api.delete(resource, name, leftover.namespace, grace_seconds=grace)
        lease.forget(leftover.run)


def _present(api: Api, leftover: Leftover) -> Iterator[str]:
    """Yield what is left of a leftover: its namespace, or its objects and the pods of its DaemonSet."""
    if leftover.is_namespace:
        if _exists(api, NAMESPACES, leftover.namespace, ""):
            yield f"namespaces/{leftover.namespace}"
        return
    names = {(resource.plural, name) for resource, name in leftover.objects}
    has_daemon_set = any(resource is DAEMON_SETS for resource, _ in leftover.objects)
    for resource in dict.fromkeys(resource for resource, _ in (*leftover.objects, *([(PODS, "")] * has_daemon_set))):
        for thing in api.objects(resource, leftover.namespace, labels=OF_SUITE):
            metadata = thing["metadata"]
            # The pod of a Job that the suite runs in has the label too.
            owners = [owner["kind"] for owner in metadata.get("ownerReferences") or ()]
            if (resource.plural, metadata["name"]) in names or (has_daemon_set and "DaemonSet" in owners):
                yield f"{resource.plural}/{metadata['name']} in {leftover.namespace}"


def _exists(api: Api, resource: Resource, name: str, namespace: str) -> bool:
    try:
        api.get(resource, name, namespace)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def _leftover(thing: Mapping[str, Any], namespace: str, *, is_namespace: bool = False) -> Leftover:
    metadata = thing["metadata"]
    annotations = metadata.get("annotations") or {}
    return Leftover(
        namespace,
        lease.run_of(thing) if is_namespace else str(annotations.get(lease.RUN, "")),
        lease.state_of(thing),
        str(annotations.get(lease.OWNER) or "an unknown process"),
        str(metadata.get("creationTimestamp", "at an unknown time")),
        str(annotations.get(lease.EXPIRES, "")),
        is_namespace,
    )
