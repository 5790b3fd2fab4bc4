"""The images that a run uses, and where a mirror has them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def mirrored(image: str, registry: str | None) -> str:
    """Return an image's name in a mirror: the same repository, tag and digest below the mirror's prefix."""
    if not registry:
        return image
    host, separator, rest = image.partition("/")
    is_host = bool(separator) and (host == "localhost" or "." in host or ":" in host)
    return f"{registry.rstrip('/')}/{rest if is_host else image}"


def from_mirror(spec: Mapping[str, Any], registry: str | None) -> dict[str, Any]:
    """Return a pod's spec with all its images taken from a mirror."""
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    for container in (*changed["containers"], *changed.get("initContainers", ())):
        container["image"] = mirrored(container["image"], registry)
    return changed


def images_of(objects: Iterable[Mapping[str, Any]], registry: str | None = None) -> tuple[str, ...]:
    """Return the images of pods and of objects with a pod template, each once, sorted."""
    specs = [one["spec"].get("template", one)["spec"] for one in objects if "spec" in one]
    containers = [container for spec in specs for container in (*spec["containers"], *spec.get("initContainers", ()))]
    return tuple(sorted({mirrored(container["image"], registry) for container in containers}))
