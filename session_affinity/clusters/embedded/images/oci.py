"""Writes images as an OCI image layout in one tar file; the same content gives the same bytes.

The format is that of the OCI image specification (image-layout.md, manifest.md, config.md): ``oci-layout``,
``index.json`` and ``blobs/sha256/``. ``manifest.json`` beside them is for ``docker load``. Layers are not
compressed: each node reads them from the local disk once, and decompression would take more time than it saves.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of the images' containers."""

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class File:
    """A regular file; ``path`` is absolute in the image."""

    path: str
    content: bytes
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link to ``target``."""

    path: str
    target: str


@dataclass(frozen=True)
class Directory:
    """A directory with a mode; parent directories of other entries are created without one."""

    path: str
    mode: int = 0o755


Entry = File | Link | Directory


@dataclass(frozen=True)
class ImageSpec:
    """The content of an image; ``name`` is its full name: registry, repository and tag."""

    name: str
    title: str
    description: str
    entries: tuple[Entry, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the image, with keys of the OCI specification (annotations.md)."""
        return {
            "org.opencontainers.image.title": self.title,
            "org.opencontainers.image.description": self.description,
        }


@dataclass(frozen=True)
class ImageBlobs:
    """An image as blobs by digest (configuration, manifest, layer), and its descriptor for an index."""

    spec: ImageSpec
    descriptor: Mapping[str, Any]
    config_digest: str
    layer_digest: str
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The digest of the manifest, ``sha256:...``."""
        return str(self.descriptor["digest"])


def layer(entries: Iterable[Entry]) -> bytes:
    """Return the entries as a tar file: sorted by path, parents first, owned by root, with time 0.

    Raises ValueError when two different entries have the same path.
    """
    tree: dict[str, Entry] = {}
    for entry in entries:
        if tree.setdefault(entry.path, entry) != entry:
            raise ValueError(f"two entries for {entry.path} in one layer")
    for path in tuple(tree):
        for parent in PurePosixPath(path).parents:
            if parent != PurePosixPath("/"):
                tree.setdefault(str(parent), Directory(str(parent)))
    return _tar(tree[path] for path in sorted(tree))


def build(spec: ImageSpec, architecture: str) -> ImageBlobs:
    """Return the blobs of an image; ``architecture`` is in Go's naming, such as ``amd64``."""
    content = layer(spec.entries)
    layer_digest = digest_of(content)
    runtime: dict[str, Any] = {"Env": [f"PATH={PATH}"], "WorkingDir": "/", "Labels": spec.labels}
    if spec.entrypoint:
        runtime["Entrypoint"] = list(spec.entrypoint)
    if spec.command:
        runtime["Cmd"] = list(spec.command)
    config = _json(
        {
            "created": _EPOCH,
            "architecture": architecture,
            "os": "linux",
            "config": runtime,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, content)],
        }
    )
    tag = spec.name.rpartition(":")[2]
    descriptor = {
        **_descriptor(_MANIFEST, manifest),
        "platform": {"architecture": architecture, "os": "linux"},
        # containerd reads the full name from its own annotation; other readers use the tag only.
        "annotations": {"io.containerd.image.name": spec.name, "org.opencontainers.image.ref.name": tag},
    }
    blobs = {digest_of(blob): blob for blob in (config, manifest, content)}
    return ImageBlobs(spec, descriptor, digest_of(config), layer_digest, blobs)


def write_archive(images: Sequence[ImageBlobs], file: BinaryIO) -> None:
    """Write all images to one layout, so that a node imports them at once."""
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [dict(image.descriptor) for image in images]}
    docker = [
        {
            "Config": _blob_path(image.config_digest),
            "RepoTags": [image.spec.name],
            "Layers": [_blob_path(image.layer_digest)],
        }
        for image in images
    ]
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
    entries: list[Entry] = [
        File("/oci-layout", _json({"imageLayoutVersion": "1.0.0"}), 0o644),
        File("/index.json", _json(index), 0o644),
        File("/manifest.json", _json(docker), 0o644),
        Directory("/blobs"),
        Directory("/blobs/sha256"),
        *(File(f"/{_blob_path(digest)}", blobs[digest], 0o644) for digest in sorted(blobs)),
    ]
    file.write(_tar(entries))


def digest_of(content: bytes) -> str:
    """Return the digest in the format of the specification, ``sha256:...``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _tar(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.path.lstrip("/"))
            match entry:
                case File():
                    header.mode, header.size = entry.mode, len(entry.content)
                    archive.addfile(header, io.BytesIO(entry.content))
                case Link():
                    header.type, header.mode, header.linkname = tarfile.SYMTYPE, 0o777, entry.target
                    archive.addfile(header)
                case Directory():
                    header.type, header.mode = tarfile.DIRTYPE, entry.mode
                    archive.addfile(header)
    return buffer.getvalue()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)}


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
