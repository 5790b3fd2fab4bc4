"""Whether a pod is Ready, its addresses, and why it will not run however long one waits."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNSCHEDULABLE_SECONDS: Final = 5.0
"""How old a pod must be before Unschedulable counts: the scheduler tries again when a node gets free."""
_IMAGE: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_NOT_RUN: Final = "RunContainerError"
_CONTAINER: Final = ("CreateContainerConfigError", "CreateContainerError", _NOT_RUN, "CrashLoopBackOff")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is Ready and is not being deleted."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def addresses(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses of a pod, one for each IP family, the primary one first."""
    status = pod.get("status") or {}
    ips = [entry["ip"] for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    return tuple(str(ip) for ip in ips if ip)


def trouble(pod: Mapping[str, Any], now: datetime.datetime | None = None) -> str:
    """Return why a pod will not run, with image and node; empty while it may still become Ready."""
    if "deletionTimestamp" in pod["metadata"]:
        return ""
    name = pod["metadata"]["name"]
    return next((f"pod {name}: {reason}" for reason in _troubles(pod, now or _now())), "")


def _troubles(pod: Mapping[str, Any], now: datetime.datetime) -> Iterator[str]:
    status = pod.get("status") or {}
    where = f" on {pod['spec']['nodeName']}" if pod["spec"].get("nodeName") else ""
    if status.get("phase") == "Failed":
        yield f"failed{where}: {_reason_and_message(status)}"
    for condition in status.get("conditions") or ():
        if _is_unschedulable(condition) and _age(pod, now) >= UNSCHEDULABLE_SECONDS:
            yield f"cannot be scheduled: {condition.get('message', 'no reason given')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _IMAGE:
            yield f"image {_image(pod, container)} cannot be pulled{where}: {_reason_and_message(waiting)}"
        elif waiting.get("reason") in _CONTAINER and not _is_tried_again(waiting, container):
            terminated = (container.get("lastState") or {}).get("terminated") or {}
            code = f"; exit code {terminated['exitCode']}" if "exitCode" in terminated else ""
            yield f"container {container['name']} does not start{where}: {_reason_and_message(waiting)}{code}"


def _is_tried_again(waiting: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Whether a runtime that could not run a container has another try at once, as kubelet gives it after the first."""
    return waiting["reason"] == _NOT_RUN and not container.get("restartCount")


def _is_unschedulable(condition: Mapping[str, Any]) -> bool:
    kind, status, reason = condition["type"], condition["status"], condition.get("reason")
    return (kind, status, reason) == ("PodScheduled", "False", "Unschedulable")


def _image(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Return the image as the pod's specification writes it; the status may write it differently."""
    spec = pod["spec"]
    images = {entry["name"]: entry["image"] for entry in (*spec.get("initContainers", ()), *spec["containers"])}
    return str(images.get(container["name"], container.get("image")))


def _reason_and_message(status: Mapping[str, Any]) -> str:
    return ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key)) or "no reason given"


def _age(pod: Mapping[str, Any], now: datetime.datetime) -> float:
    created = pod["metadata"].get("creationTimestamp")
    if not created:
        return 0.0
    return (now - datetime.datetime.fromisoformat(created)).total_seconds()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
