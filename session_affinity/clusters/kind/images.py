"""The images of the sample pods: those that the local engine has are put on the nodes, the nodes pull the others.

The manifests pin them by digest. An engine that has that very image, or one of the same name, saves every node the
pull; kind puts images on nodes by tag only, so pods ask for those by tag, and the facts say which ones they are.
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
class Loaded:
    """By the name in the manifests, the tag under which the nodes have an image; and where each comes from, as facts.

    What is not in ``names`` the nodes pull by the manifests' name.
    """

    names: dict[str, str]
    facts: dict[str, str]


def find(engine: Engine, name: str) -> EngineImage | None:
    """Return the engine's image of a name in the manifests: of its digest, else of its tag, else of no tag at all.

    One for another architecture is not among them. Raises ClusterError.
    """
    for candidate in dict.fromkeys((f"{repository(name)}@{digest(name)}", by_tag(name), repository(name))):
        image = engine.image(candidate)
        if image is not None and image.architecture == engine.architecture:
            return image
    return None


def load(engine: Engine, manager: KindManager, state: KindState, progress: Progress) -> Loaded:
    """Put the images on the nodes and return what they are called there.

    One that cannot be put there is no error: the nodes may be able to pull it, and if not, the pods say so.
    """
    loaded = Loaded({}, {})
    for name in sample_images():
        image = find(engine, name)
        if image is None:
            origin = f"pulled by the nodes: {engine.program} has none for {engine.architecture}"
        else:
            try:
                loaded.names[name] = _put(engine, manager, state, image)
                origin = _origin(engine, image, name)
            except ClusterError as error:
                origin = f"pulled by the nodes: {error.what}"
        loaded.facts[f"image {name}"] = origin
        progress.note(f"image {by_tag(name)}: {origin}")
    return loaded


def _origin(engine: Engine, image: EngineImage, name: str) -> str:
    pinned = digest(name)
    about = [
        image.id,
        f"loaded from {engine.program} as {image.name}",
        "" if pinned in image.name else f"not compared with {pinned[:_SHOWN_DIGEST]}",
        image.description,
    ]
    return ", ".join(filter(None, about))


def _put(engine: Engine, manager: KindManager, state: KindState, image: EngineImage) -> str:
    """Put an image on the nodes and return the tag they have it under; raises ClusterError."""
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
    """Yield a tag of an image; one that has none, pulled by digest alone, gets one for as long."""
    if "@" not in image.name or image.tags:
        yield image.tags[0] if "@" in image.name else image.name
        return
    # In a repository of its own: with the last tag of one, docker removes what it has of it by digest too.
    tag = f"localhost/{repository(image.name)}:{digest(image.name).replace(':', '-')[:_SHOWN_DIGEST]}"
    engine.tag(image.name, tag)
    try:
        yield tag
    finally:
        engine.untag(tag)
