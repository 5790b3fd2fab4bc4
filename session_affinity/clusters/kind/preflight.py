"""Checks what a kind cluster needs, before anything is created."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity import versions
from session_affinity.clusters.kind import images
from session_affinity.clusters.kind.configuration import node_names, ports, sample_images, version_in
from session_affinity.clusters.kind.engine import CLUSTER_LABEL, Engine, EngineImage
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError, UsageError

if TYPE_CHECKING:
    from session_affinity.progress import Progress

FREE_BYTES: Final = 4 * 1024**3
"""The space that four nodes need in the engine's storage: each has a copy of the images in its node image."""

_ENTRYPOINT: Final = "/usr/local/bin/entrypoint"
_VERSION_FILE: Final = "/kind/version"
_KIND_VERSION: Final = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")
_RELEASES: Final = "each release of https://github.com/kubernetes-sigs/kind/releases lists its images"
_ELSEWHERE: Final = "or use --cluster embedded"


@dataclass(frozen=True)
class NodeImageRequest:
    """The node image that the options request.

    ``origin`` is the option or file that names the image; ``kubernetes`` is the requested version, empty for any;
    ``kind`` is the version of kind that the image was published with, empty where it is not known.
    """

    image: str
    origin: str
    kubernetes: str
    kind: str


@dataclass(frozen=True)
class NodeImage:
    """A node image in the engine's store that the engine can run, and its Kubernetes version."""

    image: EngineImage
    kubernetes: str


def requested_node_image(kubernetes: str | None, node_image: str | None) -> NodeImageRequest:
    """Return the node image that --kubernetes and --node-image request.

    The listed image of a minor version has one patch release; any other release needs --node-image. Raises UsageError
    when the two options contradict each other, as far as the image's tag shows.
    """
    if node_image:
        tag_version = version_in(node_image)
        if kubernetes and tag_version:
            _require_same(kubernetes, tag_version, f"--node-image {node_image}")
        return NodeImageRequest(node_image, "--node-image", kubernetes or "", "")
    version = versions.resolve(kubernetes)
    if kubernetes:
        _require_same(kubernetes, str(version_in(version.kind.image)), f"kind's image of {version.minor}")
    origin = ".github/kubernetes-versions.json"
    return NodeImageRequest(version.kind.image, origin, kubernetes or "", version.kind.version)


def require_kind() -> str:
    """Return kind's version, such as ``0.33.0``; raises PreflightError when kind is missing or cannot run."""
    newest = versions.resolve().kind.version
    if shutil.which("kind") is None:
        raise PreflightError(
            "not found: kind",
            next_step=f"go install sigs.k8s.io/kind@{newest}, or see https://kind.sigs.k8s.io; {_ELSEWHERE}",
        )
    try:
        done = subprocess.run(
            ("kind", "version"),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEFAULTS.engine_answer,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreflightError(f"kind cannot be run: {error}", next_step=f"reinstall kind, {_ELSEWHERE}") from error
    version = _KIND_VERSION.search(done.stdout)
    if done.returncode != 0 or version is None:
        raise PreflightError(
            f"`kind version` ended with exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}",
            next_step=f"reinstall kind, {_ELSEWHERE}",
        )
    return ".".join(version.groups())


def local_image(engine: Engine) -> str:
    """Return the name of a node image in the engine's store: the newest listed one, else any of a supported version.

    Pulls nothing. Raises PreflightError when the engine has no such image, or lacks an image of the sample pods.
    """
    listed = [version.kind.image for version in reversed(versions.load().versions)]
    stored = sorted(name for name in engine.images() if _is_supported_node_image(name))
    image = next((name for name in (*listed, *reversed(stored)) if engine.image(name) is not None), None)
    if image is None:
        raise PreflightError(
            f"{engine.program} has no node image of a supported Kubernetes version",
            next_step=f"{engine.program} pull {listed[0]}",
        )
    missing = [name for name in sample_images() if images.find(engine, name) is None]
    if missing:
        raise PreflightError(
            f"{engine.program} lacks images of the sample pods: {', '.join(missing)}",
            next_step=f"{engine.program} pull {missing[0]}",
        )
    return image


def _is_supported_node_image(name: str) -> bool:
    version = version_in(name)
    return "/node:" in name and version is not None and version.rpartition(".")[0] in versions.load().minors


def require_room(engine: Engine, configuration: dict[str, Any]) -> None:
    """Raise PreflightError when the name of a node or a port is taken, or the engine's disk is full."""
    for name in node_names(configuration):
        if (container := engine.container(name)) is not None:
            raise PreflightError(
                f"{engine.program} has a container {name} ({container.state}, {container.id[:12]}) that is not a node"
                f" of this cluster (it lacks the label {CLUSTER_LABEL}={configuration['name']})",
                next_step=f"remove it ({engine.program} rm {name}), or use another --cluster-name",
            )
    for address, port in ports(configuration):
        _require_port(address, port)
    _require_space(engine)


def node_image(engine: Engine, request: NodeImageRequest, progress: Progress) -> NodeImage:
    """Return the requested node image; pulls it when the engine does not have it.

    Raises ClusterError when it cannot be pulled, PreflightError when the engine cannot run it or it is not a node
    image, UsageError when its Kubernetes version is not the requested one.
    """
    image = engine.image(request.image) or _pull(engine, request, progress)
    if image.architecture != engine.architecture:
        raise PreflightError(
            f"{request.image} ({request.origin}) is an image for {image.architecture}, but {engine.program} runs on"
            f" {engine.architecture}",
            next_step=f"remove it ({engine.program} rmi {request.image}), so that it is pulled again, or name another"
            " image with --node-image",
        )
    version = engine.file_of(request.image, _VERSION_FILE) if _ENTRYPOINT in image.entrypoint else None
    if version is None:
        raise PreflightError(
            f"{request.image} ({request.origin}) is not a node image of kind: {_VERSION_FILE} cannot be read from it",
            next_step=f"name a node image with --node-image; {_RELEASES}",
        )
    kubernetes = version.strip().removeprefix("v")
    if request.kubernetes:
        _require_same(request.kubernetes, kubernetes, f"{request.origin} {request.image}")
    return NodeImage(image, kubernetes)


def _pull(engine: Engine, request: NodeImageRequest, progress: Progress) -> EngineImage:
    with progress.step(f"pulling {request.image.partition('@')[0]}") as step:
        try:
            engine.pull(request.image, step.update)
        except ClusterError as error:
            raise ClusterError(
                f"cannot pull node image {request.image} ({request.origin}): {error.what}",
                next_step=f"name an image that {engine.program} has or can pull with --node-image; {_RELEASES}",
            ) from error
    image = engine.image(request.image)
    if image is None:
        raise ClusterError(
            f"{engine.program} pulled {request.image}, but does not have it now",
            next_step=f"check the engine's images: {engine.program} images",
        )
    return image


def _require_same(requested: str, actual: str, image: str) -> None:
    """Raise UsageError when an image has another Kubernetes version; ``requested`` may lack the patch or minor."""
    version = requested.strip().removeprefix("v")
    if actual != version and not actual.startswith(f"{version}."):
        minor = ".".join(version.split(".")[:2])
        raise UsageError(
            f"--kubernetes {requested}: {image} has Kubernetes {actual}",
            next_step=f"use --kubernetes {'.'.join(actual.split('.')[:2])}, or --node-image with an image of"
            f" {requested}, or --cluster embedded, which runs any release of {minor}",
        )


def _require_port(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return
            raise PreflightError(
                f"manifests/kind.yaml needs port {port} of {address}, which is in use",
                next_step="end the program that listens there (see ss -ltnp), or remove the port from the manifest",
            ) from error


def _require_space(engine: Engine) -> None:
    """Raise PreflightError when the engine's disk is full; an engine on another machine is not checked."""
    try:
        free = shutil.disk_usage(Path(engine.storage)).free
    except OSError:
        return
    if free < FREE_BYTES:
        raise PreflightError(
            f"{engine.storage} has {free / 1024**3:.1f} GiB free, but four nodes need {FREE_BYTES / 1024**3:.0f} GiB",
            next_step=f"free some space; {engine.program} system df shows what uses it",
        )
