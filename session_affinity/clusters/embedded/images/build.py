"""From the host's tools and the programs here to one archive that a node imports."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded.binaries import Cache
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.clusters.embedded.images import hosttools, keys, oci, programs
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAUSE = "registry.k8s.io/pause:3.10"
WHOAMI = "docker.io/traefik/whoami:v1.11.0"
NETSHOOT = "docker.io/nicolaka/netshoot:v0.15"

_ARCHIVE = "images.tar"
_RECORD = "images.json"
_DRAFT = ".draft-"


@dataclass(frozen=True)
class BuiltImage:
    """An image in the archive: its complete name, the digest of its manifest, and what it stands in for."""

    name: str
    digest: str
    stand_in_for: str
    description: str


@dataclass(frozen=True)
class ImageSet:
    """An archive with all images, and what is in it."""

    archive: Path
    images: tuple[BuiltImage, ...]


def ensure_images(progress: Callable[[str], None] | None = None, *, cache: Cache | None = None) -> ImageSet:
    """Return the images for this machine, from the cache or made now; ``progress`` is told what is being made.

    The cache is the user's unless one is given. Raises PreflightError where the machine lacks a tool, BinaryError where
    the programs cannot be built or the cache cannot be written.
    """
    cache = cache or Cache.of_user()
    root = cache.root / "images"
    tools = hosttools.locate()
    architecture = machine_arch()
    with cache.refusals():
        shared = keys.libraries(root, tools)
        entry = root / keys.key(programs.SOURCE, architecture, tools, shared)
        kept = _read(entry)
        if kept:
            return kept
        with cache.locked("images", "container images", quiet()):
            kept = _read(entry)
            return kept or _make(entry, cache, architecture, hosttools.entries(tools, shared), progress or _silent)


def write(archive: Path, specs: Sequence[oci.Spec], architecture: str) -> tuple[BuiltImage, ...]:
    """Write the images into one archive and return what it holds."""
    built = [oci.build(spec, architecture) for spec in specs]
    with archive.open("wb") as file:
        oci.write_archive(built, file)
    return tuple(BuiltImage(one.spec.name, one.digest, one.spec.title, one.spec.description) for one in built)


def specs(pause: bytes, whoami: bytes, client: Sequence[oci.Entry]) -> tuple[oci.Spec, ...]:
    """Return the images, given the two programs and the client's files."""
    return (
        oci.Spec(
            PAUSE,
            *_told("registry.k8s.io/pause", "holds a pod's namespaces and collects orphaned processes"),
            entries=(oci.File("/pause", pause),),
            entrypoint=("/pause",),
        ),
        oci.Spec(
            WHOAMI,
            *_told("traefik/whoami", "answers HTTP on port 80 with its host name and the request"),
            entries=(oci.File("/whoami", whoami),),
            entrypoint=("/whoami",),
        ),
        oci.Spec(
            NETSHOOT,
            *_told("nicolaka/netshoot", "holds network tools of the machine it was made on"),
            entries=tuple(client),
            command=("bash",),
        ),
    )


def _told(original: str, does: str) -> tuple[str, str]:
    """Return the title and the description of a stand-in."""
    return original, f"A stand-in for {original}, made by session-affinity-conformance: {does}."


def _make(
    entry: Path, cache: Cache, architecture: str, client: Sequence[oci.Entry], progress: Callable[[str], None]
) -> ImageSet:
    entry.parent.mkdir(parents=True, exist_ok=True)
    for left in entry.parent.glob(f"{_DRAFT}*"):  # by a run that was killed: the lock is held
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=entry.parent) as scratch:
        pause, whoami = programs.ensure(
            entry.parent, Path(scratch), cache=cache, architecture=architecture, note=progress
        )
        progress("packing the container images")
        draft = Path(scratch, "entry")
        draft.mkdir(mode=0o755)
        archive = draft / _ARCHIVE
        images = write(archive, specs(pause, whoami, client), architecture)
        record = {"size": archive.stat().st_size, "images": [asdict(image) for image in images]}
        (draft / _RECORD).write_text(json.dumps(record, indent=1))
        shutil.rmtree(entry, ignore_errors=True)  # there only if it is damaged
        draft.rename(entry)
    return ImageSet(entry / _ARCHIVE, images)


def _read(entry: Path) -> ImageSet | None:
    """Return a cache entry, or None where it is absent or incomplete."""
    archive = entry / _ARCHIVE
    try:
        record = json.loads((entry / _RECORD).read_text())
        if archive.stat().st_size != record["size"]:
            return None
        return ImageSet(archive, tuple(BuiltImage(**image) for image in record["images"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _silent(_: str) -> None:
    """Say nothing."""
