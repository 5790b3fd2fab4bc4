"""What the cluster tells of objects, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.kube.api import Api


def last_seen(event: Mapping[str, Any]) -> str:
    """Return when an event happened last, as the API writes it; empty where it does not say."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def last_told(api: Api, namespace: str) -> dict[str, str]:
    """Return what was told last of each object, by name; nothing where the user may not see events."""
    try:
        found = sorted(api.objects(EVENTS, namespace), key=last_seen)
    except ApiError:
        return {}
    return {one["involvedObject"].get("name", ""): one.get("message", "") for one in found}
