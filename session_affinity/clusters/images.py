"""How pods name their images: by digest in the manifests, by tag where a cluster has them under another digest."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def by_tag(image: str) -> str:
    """Return an image's name without the digest it is pinned to."""
    return image.partition("@")[0]


def repository(image: str) -> str:
    """Return an image's name without digest and tag; the port of a registry's host is no tag."""
    directory, separator, name = by_tag(image).rpartition("/")
    return f"{directory}{separator}{name.partition(':')[0]}"


def digest(image: str) -> str:
    """Return the digest that an image's name pins it to, ``sha256:...``; empty where it pins none."""
    return image.partition("@")[2]


def renamed(spec: Mapping[str, Any], name: Callable[[str], str]) -> dict[str, Any]:
    """Return a pod's spec with every image named as ``name`` says."""
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    for container in (*changed["containers"], *changed.get("initContainers", ())):
        container["image"] = name(container["image"])
    return changed
