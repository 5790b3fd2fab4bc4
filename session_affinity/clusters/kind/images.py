"""Images of the sample pods on kind: images of the local engine are loaded onto the nodes, the nodes pull the others.

The manifests pin images by digest. Loading an image of the same digest, or of the same name, saves each node the pull.
kind loads images by tag only, so pods refer to loaded images by tag, and the facts of the run show their origin.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.clusters.images import by_tag, digest, repository
from session_affinity.clusters.kind.configuration import sample_images
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.kind.engine import Engine, EngineImage
    from session_affinity.clusters.kind.manager import KindManager
    from session_affinity.clusters.kind.state import KindState
    from session_affinity.progress import Progress

_SHOWN_DIGEST = 19


@dataclass(frozen=True)
class LoadedImages:
    """The images loaded onto the nodes.

    ``names`` maps names in the manifests to tags on the nodes; the nodes pull an image that is not in it by its name
    in the manifests. ``facts`` describes the origin of each image.
    """

    names: dict[str, str]
    facts: dict[str, str]


def find(engine: Engine, name: str) -> EngineImage | None:
    """Return the engine's image for a name in the manifests: by digest, else by tag, else by the name without a tag.

    An image of another architecture does not count. Raises ClusterError.
    """
    for candidate in dict.fromkeys((f"{repository(name)}@{digest(name)}", by_tag(name), repository(name))):
        image = engine.image(candidate)
        if image is not None and image.architecture == engine.architecture:
            return image
    return None


def load(engine: Engine, manager: KindManager, state: KindState, progress: Progress) -> LoadedImages:
    """Load the images of the sample pods onto the nodes, and return their names there.

    An image that cannot be loaded is not an error: the nodes may be able to pull it; if not, the pods report it.
    """
    loaded = LoadedImages({}, {})
    for name in sample_images():
        image = find(engine, name)
        if image is None:
            origin = f"pulled by the nodes: {engine.program} has none for {engine.architecture}"
        else:
            try:
                loaded.names[name] = _load_image(engine, manager, state, image)
                origin = _origin(engine, image, name)
            except ClusterError as error:
                origin = f"pulled by the nodes: {error.what}"
        loaded.facts[f"image {name}"] = origin
        progress.note(f"image {by_tag(name)}: {origin}")
    return loaded


def _origin(engine: Engine, image: EngineImage, name: str) -> str:
    pinned = digest(name)
    parts = [
        image.id,
        f"loaded from {engine.program} as {image.name}",
        "" if pinned in image.name else f"not compared with {pinned[:_SHOWN_DIGEST]}",
        image.description,
    ]
    return ", ".join(filter(None, parts))


def _load_image(engine: Engine, manager: KindManager, state: KindState, image: EngineImage) -> str:
    """Load an image onto the nodes and return its tag there; raises ClusterError."""
    archive = state.root / "image.tar"
    with _tagged(engine, image) as tag:
        try:
            if engine.program == "docker":
                manager.load_image(tag)
            else:
                engine.save(tag, str(archive))
                manager.load_archive(archive)
        finally:
            archive.unlink(missing_ok=True)
        return tag


@contextlib.contextmanager
def _tagged(engine: Engine, image: EngineImage) -> Iterator[str]:
    """Yield a tag of an image; an image that was pulled by digest only has a temporary tag inside the block."""
    if "@" not in image.name or image.tags:
        yield image.tags[0] if "@" in image.name else image.name
        return
    # The tag is in another repository: with the last tag of a repository, docker also removes its names by digest.
    tag = f"localhost/{repository(image.name)}:{digest(image.name).replace(':', '-')[:_SHOWN_DIGEST]}"
    engine.tag(image.name, tag)
    try:
        yield tag
    finally:
        engine.untag(tag)
