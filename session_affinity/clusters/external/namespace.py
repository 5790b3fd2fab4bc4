"""The namespace in which a run works: made for it and removed at the end, or an existing one that stays."""

from __future__ import annotations

import contextlib
import random
import string
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.labels import PART_OF, SUITE
from session_affinity.clusters.interrupts import interrupts_ignored
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, UsageError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NAMESPACES, NETWORK_POLICIES, SERVICE_ACCOUNTS
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.kube.api import Api
    from session_affinity.progress import Progress

PREFIX: Final = "session-affinity-"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
RESTRICTED: Final = "restricted"
PRIVILEGED: Final = "privileged"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class NamespaceRefusedError(ClusterError):
    """The cluster lets this user make no namespace, so there is none to remove."""


def new_name() -> str:
    """Return a name that no other run has."""
    return PREFIX + "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=6))


def manifest(
    name: str, level: str, annotations: Mapping[str, str] = _NONE, labels: Mapping[str, str] = _NONE
) -> dict[str, Any]:
    """Return a namespace that admits pods of a PodSecurity level, with further annotations and labels."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {ENFORCE: level, **labels, PART_OF: SUITE},
            "annotations": dict(annotations),
        },
    }


def create(api: Api, namespace: Mapping[str, Any], *, deadlines: Deadlines = DEFAULTS) -> None:
    """Create a namespace and wait until pods can be created in it; raises NamespaceRefusedError, ApiError."""
    try:
        api.create(namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        raise NamespaceRefusedError(
            f"no permission to create a namespace: {error.what}",
            next_step="a run makes one namespace and removes it; `session-affinity rbac` prints the rights it needs,"
            " and with --namespace NAME it works in an existing one",
        ) from error
    poll(lambda: _has_account(api, namespace["metadata"]["name"]), deadlines.default_service_account)


@contextlib.contextmanager
def made(
    api: Api, namespace: Mapping[str, Any], progress: Progress, *, deadlines: Deadlines = DEFAULTS
) -> Iterator[None]:
    """Create a namespace and remove it at the end, whatever happens.

    Raises NamespaceRefusedError, ApiError and ClusterError.
    """
    name = str(namespace["metadata"]["name"])
    with contextlib.ExitStack() as at_end:
        # Before it is created: an interrupt may come when the cluster has it and this process does not know yet.
        at_end.callback(_remove_uninterrupted, api, name, progress, deadlines)
        try:
            create(api, namespace, deadlines=deadlines)
        except NamespaceRefusedError:
            at_end.pop_all()
            raise
        yield


def uid(api: Api, name: str) -> str:
    """Return the uid of a namespace; raises ApiError."""
    return str(api.get(NAMESPACES, name)["metadata"]["uid"])


def remove(api: Api, name: str, progress: Progress, *, deadlines: Deadlines = DEFAULTS) -> None:
    """Remove a namespace with all in it and wait until it is gone; raises ClusterError naming what stays."""
    with progress.step(f"removing namespace {name}"):
        api.delete(NAMESPACES, name)
        if not poll(lambda: _stored(api, name) is None, deadlines.namespace_removal, pause=0.2):
            left = _stored(api, name) or {}
            messages = [
                str(condition.get("message"))
                for condition in (left.get("status") or {}).get("conditions") or ()
                if condition.get("status") == "True"
            ]
            raise ClusterError(
                f"namespace {name} was deleted and is still there after {deadlines.namespace_removal:.0f} s: "
                f"{'; '.join(messages) or left}",
                next_step=f"kubectl get all -n {name} shows what is left in it",
            )


def require(api: Api, name: str) -> Iterator[str]:
    """Yield what an existing namespace has that may keep a run from working, as far as this user may see it.

    Raises UsageError when there is no such namespace.
    """
    try:
        stored = _stored(api, name)
    except ApiError as error:
        if error.status != 403:
            raise
        stored = {}
    if stored is None:
        raise UsageError(f"there is no namespace {name}", next_step="create it, or leave --namespace out")
    if level := ((stored.get("metadata") or {}).get("labels") or {}).get(ENFORCE):
        yield f"namespace {name} admits pods of PodSecurity level {level}"
    try:
        policies = [policy["metadata"]["name"] for policy in api.objects(NETWORK_POLICIES, name)]
    except ApiError as error:
        if error.status != 403:
            raise
        policies = []
    if policies:
        yield (
            f"NetworkPolicies in namespace {name}: {', '.join(policies)}; they must let the pods of the run reach each"
            " other, also through Services and nodes"
        )


def _remove_uninterrupted(api: Api, name: str, progress: Progress, deadlines: Deadlines) -> None:
    with interrupts_ignored(lambda _: progress.note(f"namespace {name} is being removed: a few seconds more")):
        remove(api, name, progress, deadlines=deadlines)


def _has_account(api: Api, name: str) -> bool:
    """Whether the namespace has its default service account, without which it admits no pod."""
    try:
        api.get(SERVICE_ACCOUNTS, "default", name)
    except ApiError as error:
        # A user who may not read it waits for the pods instead.
        return error.status == 403
    return True


def _stored(api: Api, name: str) -> Mapping[str, Any] | None:
    try:
        return api.get(NAMESPACES, name)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
