"""Events of the cluster about objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.kube.api import Api


def last_seen(event: Mapping[str, Any]) -> str:
    """Return when an event happened last, in the API's format; empty if the event has no time."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def last_messages(api: Api, namespace: str) -> dict[str, str]:
    """Return the message of the last event about each object, by object name; empty if events may not be listed."""
    try:
        events = sorted(api.objects(EVENTS, namespace), key=last_seen)
    except ApiError:
        return {}
    return {event["involvedObject"].get("name", ""): event.get("message", "") for event in events}
