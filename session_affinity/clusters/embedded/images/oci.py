"""Writes images as an OCI image layout in one tar file; the same content gives the same bytes.

The format is that of the OCI image specification (image-layout.md, manifest.md, config.md): ``oci-layout``,
``index.json`` and ``blobs/sha256/``. ``manifest.json`` beside them is for ``docker load``. Layers are compressed only
on request, for registries: nodes that read them from the local disk once would need more time than that saves.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
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
_COMPRESSED_LAYER = f"{_LAYER}+gzip"
_LEVEL = 6
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
    """The content of an image; ``name`` is its full name: registry, repository and tag.

    ``base`` is a layer of its own below ``entries``: what changes less often. ``user`` is empty for root.
    """

    name: str
    title: str
    description: str
    entries: tuple[Entry, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    base: tuple[Entry, ...] = ()
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    more_labels: Mapping[str, str] = field(default_factory=dict)
    compressed: bool = False

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the image, with keys of the OCI specification (annotations.md)."""
        return {
            "org.opencontainers.image.title": self.title,
            "org.opencontainers.image.description": self.description,
            **self.more_labels,
        }


@dataclass(frozen=True)
class ImageBlobs:
    """An image for one platform as blobs by digest (configuration, manifest, layers), and its descriptor."""

    spec: ImageSpec
    descriptor: Mapping[str, Any]
    config_digest: str
    layer_digests: tuple[str, ...]
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
    layers = [layer(entries) for entries in (spec.base, spec.entries) if entries]
    runtime: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in {"PATH": PATH, **spec.environment}.items()],
        "WorkingDir": "/",
        "Labels": spec.labels,
    }
    if spec.user:
        runtime["User"] = spec.user
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
            # The digests of the layers before compression.
            "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in layers]},
        }
    )
    media_type = _COMPRESSED_LAYER if spec.compressed else _LAYER
    stored = [gzip.compress(content, _LEVEL, mtime=0) if spec.compressed else content for content in layers]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(media_type, content) for content in stored],
        }
    )
    descriptor = {
        **_descriptor(_MANIFEST, manifest),
        "platform": {"architecture": architecture, "os": "linux"},
    }
    blobs = {digest_of(blob): blob for blob in (config, manifest, *stored)}
    return ImageBlobs(spec, descriptor, digest_of(config), tuple(map(digest_of, stored)), blobs)


def write_archive(images: Sequence[ImageBlobs], file: BinaryIO) -> dict[str, str]:
    """Write all images to one layout, so that a node imports them at once; return the digest of each by name.

    Images of the same name are one image for several platforms, and its digest is that of the index of these.
    """
    by_name: dict[str, list[ImageBlobs]] = {}
    for image in images:
        by_name.setdefault(image.spec.name, []).append(image)
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
    named = {}
    for name, platforms in by_name.items():
        descriptor = dict(platforms[0].descriptor)
        if len(platforms) > 1:
            content = _json(_index_of([dict(image.descriptor) for image in platforms]))
            descriptor = _descriptor(_INDEX, content)
            blobs[digest_of(content)] = content
        # containerd reads the full name from its own annotation; other readers use the tag only.
        tag = name.rpartition(":")[2]
        annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
        named[name] = {**descriptor, "annotations": annotations}
    # This format has no platforms: it gets the first of each image.
    docker = [
        {
            "Config": _blob_path(platforms[0].config_digest),
            "RepoTags": [name],
            "Layers": [_blob_path(digest) for digest in platforms[0].layer_digests],
        }
        for name, platforms in by_name.items()
    ]
    entries: list[Entry] = [
        File("/oci-layout", _json({"imageLayoutVersion": "1.0.0"}), 0o644),
        File("/index.json", _json(_index_of(list(named.values()))), 0o644),
        File("/manifest.json", _json(docker), 0o644),
        Directory("/blobs"),
        Directory("/blobs/sha256"),
        *(File(f"/{_blob_path(digest)}", blobs[digest], 0o644) for digest in sorted(blobs)),
    ]
    file.write(_tar(entries))
    return {name: str(descriptor["digest"]) for name, descriptor in named.items()}


def digest_of(content: bytes) -> str:
    """Return the digest in the format of the specification, ``sha256:...``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _index_of(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": _INDEX, "manifests": list(manifests)}


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
