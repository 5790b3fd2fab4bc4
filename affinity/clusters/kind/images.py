"""The images of the sample pods: those that the local engine has are put on the nodes, the nodes pull the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.clusters.kind.configuration import sample_images
from affinity.errors import ClusterError

if TYPE_CHECKING:
    from affinity.clusters.kind.engine import Engine
    from affinity.clusters.kind.manager import KindManager
    from affinity.clusters.kind.state import KindState
    from affinity.progress import Progress


def load(engine: Engine, manager: KindManager, state: KindState, progress: Progress) -> dict[str, str]:
    """Put the images on the nodes and return where each comes from, as facts.

    One that cannot be put there is no error: the nodes may be able to pull it, and if not, the pods say so.
    """
    facts = {}
    for name in sample_images():
        image = engine.image(name)
        if image is None:
            origin = f"pulled by the nodes: {engine.program} has none"
        elif image.architecture != engine.architecture:
            origin = f"pulled by the nodes: {engine.program} has one for {image.architecture}"
        else:
            loaded = f"{image.id}, loaded from {engine.program}" + (
                f" ({image.description})" if image.description else ""
            )
            origin = _loaded(engine, manager, state, name) or loaded
        facts[f"image {name}"] = origin
        progress.note(f"image {name}: {origin}")
    return facts


def _loaded(engine: Engine, manager: KindManager, state: KindState, name: str) -> str:
    """Return in words what kept an image from being loaded, nothing if it was."""
    archive = state.root / "image.tar"
    try:
        if engine.program == "docker":
            manager.load_image(name)
        else:
            engine.save(name, str(archive))
            manager.load_archive(archive)
    except ClusterError as error:
        return f"pulled by the nodes: {error.what}"
    finally:
        archive.unlink(missing_ok=True)
    return ""
