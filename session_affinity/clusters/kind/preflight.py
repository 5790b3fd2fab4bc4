"""What has to be there before kind is asked for a cluster, checked while nothing has been created."""

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
"""What four nodes need of the engine's storage: each has a copy of the images in its node image."""

_ENTRYPOINT: Final = "/usr/local/bin/entrypoint"
_VERSION_FILE: Final = "/kind/version"
_KIND_VERSION: Final = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")
_RELEASES: Final = "https://github.com/kubernetes-sigs/kind/releases lists each release's images"
_ELSEWHERE: Final = "or use --cluster embedded"


@dataclass(frozen=True)
class Wanted:
    """The node image to start, where it comes from, and the version it was asked for by (empty: whichever it has)."""

    image: str
    origin: str
    kubernetes: str
    kind: str


@dataclass(frozen=True)
class NodeImage:
    """A node image that the engine has and can run."""

    image: EngineImage
    kubernetes: str


def wanted(kubernetes: str | None, node_image: str | None) -> Wanted:
    """Return the image that two options mean; raises UsageError when they contradict each other, as far as names tell.

    The listed image of a version is of one patch release; another one has to be named.
    """
    if node_image:
        told = version_in(node_image)
        if kubernetes and told:
            _require_same(kubernetes, told, f"--node-image {node_image}")
        return Wanted(node_image, "--node-image", kubernetes or "", "")
    version = versions.resolve(kubernetes)
    if kubernetes:
        _require_same(kubernetes, str(version_in(version.kind.image)), f"kind's image of {version.minor}")
    return Wanted(version.kind.image, ".github/kubernetes-versions.json", kubernetes or "", version.kind.version)


def require_kind() -> str:
    """Return kind's version, ``0.33.0``; raises PreflightError when it is not there or cannot run."""
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
        raise PreflightError(f"kind cannot be run: {error}", next_step=f"install it anew, {_ELSEWHERE}") from error
    found = _KIND_VERSION.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise PreflightError(
            f"`kind version` ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}",
            next_step=f"install it anew, {_ELSEWHERE}",
        )
    return ".".join(found.groups())


def local_image(engine: Engine) -> str:
    """Return the name of a node image that the engine has: the newest listed one, else any of a supported version.

    Raises PreflightError when it has none, or lacks an image of the sample pods. Fetches nothing.
    """
    listed = [version.kind.image for version in reversed(versions.load().versions)]
    here = sorted(name for name in engine.images() if _is_supported_node(name))
    found = next((name for name in (*listed, *reversed(here)) if engine.image(name) is not None), None)
    if found is None:
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
    return found


def _is_supported_node(name: str) -> bool:
    version = version_in(name)
    return "/node:" in name and version is not None and version.rpartition(".")[0] in versions.load().minors


def require_room(engine: Engine, configuration: dict[str, Any]) -> None:
    """Raise PreflightError when a name or a port that the nodes need is taken, or the engine's disk is full."""
    for name in node_names(configuration):
        if (taken := engine.container(name)) is not None:
            raise PreflightError(
                f"{engine.program} has a container {name} ({taken.state}, {taken.id[:12]}) that is no node of this"
                f" cluster (it lacks the label {CLUSTER_LABEL}={configuration['name']})",
                next_step=f"remove it ({engine.program} rm {name}), or use another --cluster-name",
            )
    for address, port in ports(configuration):
        _require_port(address, port)
    _require_space(engine)


def node_image(engine: Engine, wish: Wanted, progress: Progress) -> NodeImage:
    """Return the node image, fetched when the engine lacks it.

    Raises ClusterError when it cannot be fetched, PreflightError when the engine cannot run it or it is no node image,
    UsageError when it is not of the version asked for.
    """
    image = engine.image(wish.image) or _pulled(engine, wish, progress)
    if image.architecture != engine.architecture:
        raise PreflightError(
            f"{wish.image} ({wish.origin}) is an image for {image.architecture}, and {engine.program} runs on"
            f" {engine.architecture}",
            next_step=f"{engine.program} rmi {wish.image} and have it fetched anew, or name another with --node-image",
        )
    version = engine.file_of(wish.image, _VERSION_FILE) if _ENTRYPOINT in image.entrypoint else None
    if version is None:
        raise PreflightError(
            f"{wish.image} ({wish.origin}) is no node image of kind: it has no {_VERSION_FILE} that it can print",
            next_step=f"name a node image with --node-image; {_RELEASES}",
        )
    kubernetes = version.strip().removeprefix("v")
    if wish.kubernetes:
        _require_same(wish.kubernetes, kubernetes, f"{wish.origin} {wish.image}")
    return NodeImage(image, kubernetes)


def _pulled(engine: Engine, wish: Wanted, progress: Progress) -> EngineImage:
    with progress.step(f"fetching {wish.image.partition('@')[0]}") as step:
        try:
            engine.pull(wish.image, step.update)
        except ClusterError as error:
            raise ClusterError(
                f"no node image {wish.image} ({wish.origin}): {error.what}",
                next_step=f"name one that {engine.program} has or can fetch with --node-image; {_RELEASES}",
            ) from error
    image = engine.image(wish.image)
    if image is None:
        raise ClusterError(f"{engine.program} has fetched {wish.image} and does not find it")
    return image


def _require_same(asked: str, has: str, what: str) -> None:
    text = asked.strip().removeprefix("v")
    if has != text and not has.startswith(f"{text}."):
        minor = ".".join(text.split(".")[:2])
        raise UsageError(
            f"--kubernetes {asked}: {what} is of Kubernetes {has}",
            next_step=f"--kubernetes {'.'.join(has.split('.')[:2])} takes it"
            f" (or --node-image with an image of {asked}; --cluster embedded runs any release of {minor})",
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
                f"manifests/kind.yaml asks for port {port} of {address}, which is taken",
                next_step="end what listens there (ss -ltnp), or take the port out of the manifest",
            ) from error


def _require_space(engine: Engine) -> None:
    """Look at the engine's disk where it is one of this machine."""
    try:
        free = shutil.disk_usage(Path(engine.storage)).free
    except OSError:
        return
    if free < FREE_BYTES:
        raise PreflightError(
            f"{engine.storage} has {free / 1024**3:.1f} GiB free, and four nodes need {FREE_BYTES / 1024**3:.0f} GiB",
            next_step=f"make room ({engine.program} system df shows what is used)",
        )
