"""What the API says of a pod that does not run, as far as waiting will not mend it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNSCHEDULABLE_SECONDS: Final = 5.0
"""How long a pod is left to the scheduler: a node may become free meanwhile."""
_IMAGE: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_CONTAINER: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is Ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def addresses(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses of a pod, one a family, the primary one first."""
    status = pod.get("status") or {}
    found = [one["ip"] for one in status.get("podIPs") or ()] or [status.get("podIP")]
    return tuple(str(one) for one in found if one)


def trouble(pod: Mapping[str, Any], now: datetime.datetime | None = None) -> str:
    """Return why a pod will not run, naming image and node; empty while it may still come up."""
    if "deletionTimestamp" in pod["metadata"]:
        return ""
    name = pod["metadata"]["name"]
    return next((f"pod {name}: {what}" for what in _troubles(pod, now or _now())), "")


def _troubles(pod: Mapping[str, Any], now: datetime.datetime) -> Iterator[str]:
    status = pod.get("status") or {}
    where = f" on {pod['spec']['nodeName']}" if pod["spec"].get("nodeName") else ""
    if status.get("phase") == "Failed":
        yield f"failed{where}: {_told(status)}"
    for one in status.get("conditions") or ():
        stuck = one["type"] == "PodScheduled" and one["status"] == "False" and one.get("reason") == "Unschedulable"
        if stuck and _age(pod, now) >= UNSCHEDULABLE_SECONDS:
            yield f"cannot be scheduled: {one.get('message', 'no reason given')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _IMAGE:
            yield f"image {_image(pod, container)} cannot be had{where}: {_told(waiting)}"
        elif waiting.get("reason") in _CONTAINER:
            ended = (container.get("lastState") or {}).get("terminated") or {}
            code = f"; it ended with {ended['exitCode']}" if "exitCode" in ended else ""
            yield f"its container does not start{where}: {_told(waiting)}{code}"


def _image(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Return the image as the pod asks for it: the status may have its own writing of it."""
    spec = pod["spec"]
    own = [one for one in (*spec["containers"], *spec.get("initContainers", ())) if one["name"] == container["name"]]
    return str(own[0]["image"] if own else container.get("image"))


def _told(said: Mapping[str, Any]) -> str:
    return ": ".join(str(said[key]) for key in ("reason", "message") if said.get(key)) or "no reason given"


def _age(pod: Mapping[str, Any], now: datetime.datetime) -> float:
    created = pod["metadata"].get("creationTimestamp")
    if not created:
        return 0.0
    return (now - datetime.datetime.fromisoformat(created)).total_seconds()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
