"""The namespace that holds all a run makes: made first, removed last, and found again when a run was killed.

A namespace left by a run that was killed is removed only when this very machine can tell that the run is no more: its
annotation names the boot, the PID namespace and the process, and that process has ended. One of another machine may
belong to a run that goes on there, whatever its age, so it is named and left alone.
"""

from __future__ import annotations

import json
import os
import random
import socket
import string
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
OWNER: Final = f"{SUITE}/owner"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
BASELINE: Final = "baseline"
PRIVILEGED: Final = "privileged"


class RefusedError(ClusterError):
    """The cluster lets this user make no namespace, so there is none to remove."""


@dataclass(frozen=True)
class Owner:
    """The process a run belongs to, told apart from every other, also one of the same number."""

    host: str
    boot: str
    pid_namespace: int
    pid: int
    started: int

    @classmethod
    def of_this_run(cls) -> Owner:
        """Return this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _pid_namespace(), pid, _started(pid) or 0)

    def has_ended(self) -> bool:
        """Whether this machine can tell that the process is no more."""
        here = (self.boot, self.pid_namespace) == (_boot(), _pid_namespace())
        return here and _started(self.pid) != self.started


def owner_of(namespace: Mapping[str, Any]) -> Owner | None:
    """Return the run that made a namespace; None when it does not say so in a form known here."""
    try:
        return Owner(**json.loads(namespace["metadata"]["annotations"][OWNER]))
    except (KeyError, TypeError, ValueError):
        return None


def new_name() -> str:
    """Return a name that no other run has."""
    return PREFIX + "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=6))


def manifest(name: str, level: str) -> dict[str, Any]:
    """Return the namespace of this run, which lets pods of a PodSecurity level in."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {PART_OF: SUITE, ENFORCE: level},
            "annotations": {OWNER: json.dumps(asdict(Owner.of_this_run()))},
        },
    }


def create(api: Api, name: str, level: str, *, deadlines: Deadlines = DEFAULTS) -> None:
    """Make the namespace and wait until pods can be made in it; raises RefusedError, ApiError."""
    try:
        api.create(manifest(name, level))
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
    """Remove what killed runs of this machine left, and name what others may have left."""
    try:
        found = api.objects(NAMESPACES, labels=f"{PART_OF}={SUITE}")
    except ApiError as error:
        progress.note(f"namespaces of earlier runs were not looked for: {error.what}")
        return
    for one in found:
        name, owner = one["metadata"]["name"], owner_of(one)
        if not name.startswith(PREFIX) or "deletionTimestamp" in one["metadata"]:
            continue
        made = one["metadata"].get("creationTimestamp", "an unknown time")
        if owner and owner.has_ended():
            progress.note(f"namespace {name}: left by a run of this machine that was killed, made {made}; removed")
            api.delete(NAMESPACES, name)
        elif owner != Owner.of_this_run():
            whose = f"process {owner.pid} on {owner.host}" if owner else "nobody it names"
            progress.note(
                f"namespace {name}: made {made} by {whose}, may be in use and is left alone; if that run is over: "
                f"kubectl delete namespace {name}"
            )


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


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the boot; None when there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None
