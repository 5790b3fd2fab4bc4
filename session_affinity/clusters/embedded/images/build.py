"""Builds the images from the host's tools and this package's Go programs, as one archive that each node imports."""

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
    """An image in the archive: its full name, the digest of its manifest, and the original it stands in for."""

    name: str
    digest: str
    stand_in_for: str
    description: str


@dataclass(frozen=True)
class ImageSet:
    """The archive with all images, and its content."""

    archive: Path
    images: tuple[BuiltImage, ...]


def ensure_images(note: Callable[[str], None] | None = None, *, cache: Cache | None = None) -> ImageSet:
    """Return the images for this machine, from the cache or built now; ``note`` gets a line of text for each step.

    ``cache`` defaults to the user's. Raises PreflightError when the machine lacks a tool, BinaryError when the programs
    cannot be built or the cache cannot be written.
    """
    cache = cache or Cache.of_user()
    root = cache.root / "images"
    tools = hosttools.locate()
    architecture = machine_arch()
    with cache.write_errors():
        shared = keys.libraries(root, tools)
        entry = root / keys.key(programs.SOURCE, architecture, tools, shared)
        cached = _read(entry)
        if cached:
            return cached
        with cache.locked("images", "container images", quiet()):
            cached = _read(entry)
            return cached or _build(entry, cache, architecture, hosttools.entries(tools, shared), note or _silent)


def write(archive: Path, specs: Sequence[oci.ImageSpec], architecture: str) -> tuple[BuiltImage, ...]:
    """Build the images, write them to one archive and return its content."""
    images = [oci.build(spec, architecture) for spec in specs]
    with archive.open("wb") as file:
        oci.write_archive(images, file)
    return tuple(
        BuiltImage(image.spec.name, image.digest, image.spec.title, image.spec.description) for image in images
    )


def image_specs(pause: bytes, whoami: bytes, client: Sequence[oci.Entry]) -> tuple[oci.ImageSpec, ...]:
    """Return the specifications of the images, given the two programs and the files of the client's image."""
    return (
        oci.ImageSpec(
            PAUSE,
            *_stand_in("registry.k8s.io/pause", "holds a pod's namespaces and reaps orphaned processes"),
            entries=(oci.File("/pause", pause),),
            entrypoint=("/pause",),
        ),
        oci.ImageSpec(
            WHOAMI,
            *_stand_in("traefik/whoami", "answers HTTP on port 80 with its host name and the request"),
            entries=(oci.File("/whoami", whoami),),
            entrypoint=("/whoami",),
        ),
        oci.ImageSpec(
            NETSHOOT,
            *_stand_in("nicolaka/netshoot", "contains network tools of the machine it was built on"),
            entries=tuple(client),
            command=("bash",),
        ),
    )


def _stand_in(original: str, does: str) -> tuple[str, str]:
    """Return the title and the description of a stand-in."""
    return original, f"A stand-in for {original}, built by session-affinity-conformance: {does}."


def _build(
    entry: Path, cache: Cache, architecture: str, client: Sequence[oci.Entry], note: Callable[[str], None]
) -> ImageSet:
    entry.parent.mkdir(parents=True, exist_ok=True)
    for leftover in entry.parent.glob(f"{_DRAFT}*"):  # of a killed run, as this run has the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=entry.parent) as scratch:
        pause, whoami = programs.ensure(entry.parent, Path(scratch), cache=cache, architecture=architecture, note=note)
        note("packing the container images")
        draft = Path(scratch, "entry")
        draft.mkdir(mode=0o755)
        archive = draft / _ARCHIVE
        images = write(archive, image_specs(pause, whoami, client), architecture)
        record = {"size": archive.stat().st_size, "images": [asdict(image) for image in images]}
        (draft / _RECORD).write_text(json.dumps(record, indent=1))
        shutil.rmtree(entry, ignore_errors=True)  # exists only when it is damaged
        draft.rename(entry)
    return ImageSet(entry / _ARCHIVE, images)


def _read(entry: Path) -> ImageSet | None:
    """Return a cache entry, or None when it is absent or incomplete."""
    archive = entry / _ARCHIVE
    try:
        record = json.loads((entry / _RECORD).read_text())
        if archive.stat().st_size != record["size"]:
            return None
        return ImageSet(archive, tuple(BuiltImage(**image) for image in record["images"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _silent(_: str) -> None:
    """Discard a note."""
