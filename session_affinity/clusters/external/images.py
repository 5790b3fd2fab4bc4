"""The images that a run uses, and where a mirror has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.images import by_tag, rename_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class ImageSource:
    """Where the images of a run come from: a mirror, if there is one, and whether their digests count.

    ``tags`` is for nodes and mirrors that have an image of the same name under another digest.
    """

    registry: str | None = None
    tags: bool = False

    def named(self, image: str) -> str:
        """Return the name by which a pod asks for an image."""
        return mirrored(by_tag(image) if self.tags else image, self.registry)

    def spec(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a pod's spec with all its images taken from here."""
        return rename_images(spec, self.named)


AS_NAMED: Final = ImageSource()
"""Images are what the manifests say, by digest."""


def mirrored(image: str, registry: str | None) -> str:
    """Return an image's name in a mirror: the same repository, tag and digest below the mirror's prefix."""
    if not registry:
        return image
    host, separator, rest = image.partition("/")
    is_host = bool(separator) and (host == "localhost" or "." in host or ":" in host)
    return f"{registry.rstrip('/')}/{rest if is_host else image}"


def images_of(objects: Iterable[Mapping[str, Any]], source: ImageSource = AS_NAMED) -> tuple[str, ...]:
    """Return the images of pods and of objects with a pod template, each once, sorted."""
    specs = [one["spec"].get("template", one)["spec"] for one in objects if "spec" in one]
    containers = [container for spec in specs for container in (*spec["containers"], *spec.get("initContainers", ()))]
    return tuple(sorted({source.named(container["image"]) for container in containers}))
