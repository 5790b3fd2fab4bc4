"""Image names: the manifests pin digests, and clusters with locally built images use the tag without the digest."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def by_tag(image: str) -> str:
    """Return an image name without its digest."""
    return image.partition("@")[0]


def repository(image: str) -> str:
    """Return an image name without tag and digest; the port of a registry host is not taken for a tag."""
    directory, separator, name = by_tag(image).rpartition("/")
    return f"{directory}{separator}{name.partition(':')[0]}"


def digest(image: str) -> str:
    """Return the digest of an image name, ``sha256:...``; empty when the name has none."""
    return image.partition("@")[2]


def rename_images(spec: Mapping[str, Any], name: Callable[[str], str]) -> dict[str, Any]:
    """Return a pod spec with ``name`` applied to every image of its containers and init containers."""
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    for container in (*changed["containers"], *changed.get("initContainers", ())):
        container["image"] = name(container["image"])
    return changed
