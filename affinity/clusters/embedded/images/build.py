"""From the host's tools and the programs here to one archive that a node imports."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from affinity.clusters.embedded.images import cache, hosttools, oci, programs
from affinity.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from affinity.clusters.embedded.images.hosttools import Tool

PAUSE = "registry.k8s.io/pause:3.10"
WHOAMI = "docker.io/traefik/whoami:latest"
NETSHOOT = "docker.io/nicolaka/netshoot:latest"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ARCHIVE = "images.tar"
_RECORD = "images.json"


@dataclass(frozen=True)
class Image:
    """An image in the archive: its complete name, the digest of its manifest, and what it stands in for."""

    name: str
    digest: str
    stand_in_for: str
    description: str


@dataclass(frozen=True)
class ImageSet:
    """An archive with all images, and what is in it."""

    archive: Path
    images: tuple[Image, ...]


def ensure_images(progress: Callable[[str], None] | None = None) -> ImageSet:
    """Return the images for this machine, from the cache or made now; ``progress`` is told what is being made.

    Raises PreflightError where the machine lacks a tool, BinaryError where the programs cannot be built.
    """
    root = cache.root()
    tools = hosttools.locate()
    shared = cache.libraries(root, tools)
    architecture = machine_architecture()
    entry = root / cache.key(programs.SOURCE, architecture, tools, shared)
    kept = _read(entry)
    if kept:
        return kept
    with FileLock(root / "lock"):
        kept = _read(entry)
        return kept or _make(entry, architecture, tools, shared, progress or (lambda _: None))


def machine_architecture() -> str:
    """Return the architecture as Go and OCI call it; raises PreflightError where no image is made for it."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise PreflightError(
            f"no images are made for {machine}", next_step=f"use a machine with one of {', '.join(_ARCHITECTURES)}"
        )
    return _ARCHITECTURES[machine]


def write(archive: Path, specs: Sequence[oci.Spec], architecture: str) -> tuple[Image, ...]:
    """Write the images into one archive and return what it holds."""
    built = [oci.build(spec, architecture) for spec in specs]
    with archive.open("wb") as file:
        oci.write_archive(built, file)
    return tuple(
        Image(
            one.spec.name,
            one.digest,
            labels["org.opencontainers.image.title"],
            labels["org.opencontainers.image.description"],
        )
        for one in built
        for labels in [dict(one.spec.labels)]
    )


def specs(pause: bytes, whoami: bytes, client: Sequence[oci.Entry]) -> tuple[oci.Spec, ...]:
    """Return the images, given the two programs and the client's files."""
    return (
        oci.Spec(
            name=PAUSE,
            entries=(oci.File("/pause", pause),),
            entrypoint=("/pause",),
            labels=_labels("registry.k8s.io/pause", "holds a pod's namespaces and collects orphaned processes"),
        ),
        oci.Spec(
            name=WHOAMI,
            entries=(oci.File("/whoami", whoami),),
            entrypoint=("/whoami",),
            labels=_labels("traefik/whoami", "answers HTTP on port 80 with its host name and the request"),
        ),
        oci.Spec(
            name=NETSHOOT,
            entries=tuple(client),
            command=("bash",),
            labels=_labels("nicolaka/netshoot", "holds network tools of the machine it was made on"),
        ),
    )


def _labels(original: str, does: str) -> tuple[tuple[str, str], ...]:
    description = f"A stand-in for {original}, made by session-affinity-conformance: {does}."
    return (("org.opencontainers.image.title", original), ("org.opencontainers.image.description", description))


def _make(
    entry: Path, architecture: str, tools: Sequence[Tool], shared: Sequence[Path], progress: Callable[[str], None]
) -> ImageSet:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=entry.parent) as scratch:
        bins = Path(scratch, "bin")
        progress("building the programs of the container images")
        pause, whoami = (programs.build(name, bins) for name in ("pause", "whoami"))
        draft = Path(scratch, "entry")
        draft.mkdir(mode=0o755)
        progress("packing the container images")
        images = write(draft / _ARCHIVE, specs(pause, whoami, hosttools.entries(tools, shared)), architecture)
        (draft / _RECORD).write_text(json.dumps([asdict(image) for image in images], indent=1))
        shutil.rmtree(entry, ignore_errors=True)  # There only if someone damaged it.
        draft.rename(entry)
    return ImageSet(entry / _ARCHIVE, images)


def _read(entry: Path) -> ImageSet | None:
    """Return a cache entry, or None where it is absent or incomplete."""
    archive = entry / _ARCHIVE
    try:
        images = tuple(Image(**image) for image in json.loads((entry / _RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return ImageSet(archive, images) if archive.is_file() else None
