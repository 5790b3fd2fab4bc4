"""The namespace that holds everything a run creates: created first, removed last, and removed by a later run if not.

What a killed run left is removed when its lease shows that the run is over, or has expired (see ``lease``). Any other
namespace may belong to a run that goes on elsewhere, so it is named and left alone.
"""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.external import lease
from session_affinity.clusters.external.lease import RunState
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NAMESPACES, SERVICE_ACCOUNTS
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.kube.api import Api
    from session_affinity.progress import Progress

PREFIX: Final = "session-affinity-"
PART_OF: Final = "app.kubernetes.io/part-of"
SUITE: Final = "session-affinity-conformance"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
BASELINE: Final = "baseline"
PRIVILEGED: Final = "privileged"


class RefusedError(ClusterError):
    """The cluster lets this user make no namespace, so there is none to remove."""


def new_name() -> str:
    """Return a name that no other run has."""
    return PREFIX + "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=6))


def manifest(name: str, level: str, *, deadlines: Deadlines = DEFAULTS) -> dict[str, Any]:
    """Return the namespace of this run, which lets pods of a PodSecurity level in."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {PART_OF: SUITE, ENFORCE: level},
            "annotations": lease.run_annotations(deadlines),
        },
    }


def create(api: Api, name: str, level: str, *, deadlines: Deadlines = DEFAULTS) -> None:
    """Make the namespace and wait until pods can be made in it; raises RefusedError, ApiError."""
    try:
        api.create(manifest(name, level, deadlines=deadlines))
    except ApiError as error:
        if error.status != 403:
            raise
        raise RefusedError(
            f"no permission to create a namespace: {error.what}",
            next_step="the suite makes one namespace and removes it; it needs a user that may create, get, list and"
            " delete namespaces, and anything inside its own",
        ) from error
    poll(lambda: _has_account(api, name), deadlines.default_service_account)


def remove(api: Api, name: str, progress: Progress, *, deadlines: Deadlines = DEFAULTS) -> None:
    """Remove the namespace with all in it and wait until it is gone; raises ClusterError naming what stays."""
    with progress.step(f"removing namespace {name}"):
        api.delete(NAMESPACES, name)
        if not poll(lambda: _found(api, name) is None, deadlines.namespace_removal, pause=0.2):
            left = _found(api, name) or {}
            said = [
                str(one.get("message"))
                for one in (left.get("status") or {}).get("conditions") or ()
                if one.get("status") == "True"
            ]
            raise ClusterError(
                f"namespace {name} was deleted and is still there after {deadlines.namespace_removal:.0f} s: "
                f"{'; '.join(said) or left}",
                next_step=f"kubectl get all -n {name} shows what is left in it",
            )


def remove_leftovers(api: Api, progress: Progress) -> None:
    """Remove what runs left that are over or expired, and name what others may use."""
    try:
        namespaces = api.objects(NAMESPACES, labels=f"{PART_OF}={SUITE}")
    except ApiError as error:
        progress.note(f"namespaces of earlier runs were not looked for: {error.what}")
        return
    for namespace in namespaces:
        metadata = namespace["metadata"]
        name = metadata["name"]
        if not name.startswith(PREFIX) or "deletionTimestamp" in metadata:
            continue
        details = metadata.get("annotations") or {}
        owner = details.get(lease.OWNER) or "nobody it names"
        created = f"created {metadata.get('creationTimestamp', 'at an unknown time')} by {owner}"
        state = lease.state_of(namespace)
        if state is RunState.UNKNOWN:
            progress.note(
                f"namespace {name}: {created}, may be in use and is left alone; if that run is over: "
                f"kubectl delete namespace {name}"
            )
            continue
        killed = "left by a run of this machine that was killed"
        why = killed if state is RunState.OVER else f"expired {details[lease.EXPIRES]}"
        progress.note(f"namespace {name}: {why}, {created}; removed")
        api.delete(NAMESPACES, name)
        lease.forget(name)


def _has_account(api: Api, name: str) -> bool:
    """Whether the namespace has its default service account, without which it admits no pod."""
    try:
        api.get(SERVICE_ACCOUNTS, "default", name)
    except ApiError as error:
        # Who may not look waits for the pods' own answer.
        return error.status == 403
    return True


def _found(api: Api, name: str) -> Mapping[str, Any] | None:
    try:
        return api.get(NAMESPACES, name)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
