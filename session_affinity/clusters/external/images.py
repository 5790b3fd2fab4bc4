"""The images that a run uses, and their names in a mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.images import by_tag, rename_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class ImageSource:
    """The registry of the images of a run: a mirror, or None for the registries they are published in.

    With ``tags`` images are named without digest, for nodes and mirrors that have them under another one.
    """

    registry: str | None = None
    tags: bool = False

    def named(self, image: str) -> str:
        """Return the name of an image in a pod."""
        return mirrored(by_tag(image) if self.tags else image, self.registry)

    def spec(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a pod's spec with all images from this source."""
        return rename_images(spec, self.named)


AS_NAMED: Final = ImageSource()
"""Images are named as in the manifests, by digest."""


def mirrored(image: str, registry: str | None) -> str:
    """Return an image's name in a mirror: the same repository, tag and digest below the mirror's prefix."""
    if not registry:
        return image
    host, separator, rest = image.partition("/")
    is_host = bool(separator) and (host == "localhost" or "." in host or ":" in host)
    return f"{registry.rstrip('/')}/{rest if is_host else image}"


def images_of(objects: Iterable[Mapping[str, Any]], source: ImageSource = AS_NAMED) -> tuple[str, ...]:
    """Return the images of pods and of objects with a pod template, each once, sorted."""
    specs = [thing["spec"].get("template", thing)["spec"] for thing in objects if "spec" in thing]
    containers = [container for spec in specs for container in (*spec["containers"], *spec.get("initContainers", ()))]
    return tuple(sorted({source.named(container["image"]) for container in containers}))
