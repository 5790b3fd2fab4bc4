"""From what a cluster is asked to be to all that it starts with: the release, its programs, its images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, families_of
from session_affinity.clusters.embedded import binaries, images, preflight
from session_affinity.clusters.embedded.layout import WORKERS, Layout, node_layouts
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.progress import Progress

PROXY_MODES = ("iptables", "nftables")
MAX_WORKERS = 100


@dataclass(frozen=True)
class Request:
    """What a cluster is asked to be.

    ``kubernetes`` is a minor or a release (the newest listed minor if empty); ``kube_proxy`` a binary of the user's to
    run instead of the release's; ``deadline_scale`` stretches all deadlines on slow machines.
    """

    name: str = "myk8s"
    kubernetes: str = ""
    proxy_mode: str = "iptables"
    kube_proxy: Path | None = None
    workers: int = WORKERS
    ip_family: str = DEFAULT_IP_FAMILY
    deadline_scale: float = 1.0


@dataclass(frozen=True)
class Prepared:
    """A layout whose programs and images are all there, and the facts worth reporting about them."""

    layout: Layout
    facts: dict[str, str]


def prepare(request: Request, progress: Progress) -> Prepared:
    """Check the request and the machine, then find, fetch or build what the cluster runs; nothing is started.

    Raises UsageError, PreflightError or BinaryError.
    """
    release = resolve(request)
    with progress.step("machine"):
        preflight.check(request.proxy_mode, request.workers + 1, families_of(request.ip_family))
    with progress.step("programs"):
        programs = binaries.ensure(release, progress)
    with progress.step("images"):
        image_set = images.ensure_images(progress.note)
    paths = {name: str(path) for name, path in programs.paths.items()}
    facts = {f"program {name}": origin for name, origin in programs.origins.items()}
    facts |= {f"image {image.name}": f"{image.digest} ({image.description})" for image in image_set.images}
    if request.kube_proxy is not None:
        paths["kube-proxy"] = str(request.kube_proxy.resolve())
        facts["program kube-proxy"] = f"the user's own: {request.kube_proxy}"
    layout = Layout(
        name=request.name,
        kubernetes=release,
        proxy_mode=request.proxy_mode,
        programs=paths,
        image_archive=str(image_set.archive),
        deadline_scale=request.deadline_scale,
        nodes=node_layouts(request.name, request.workers, request.ip_family),
        ip_family=request.ip_family,
    )
    return Prepared(layout, facts)


def resolve(request: Request) -> str:
    """Return the release a request means; raises UsageError for what no cluster could be."""
    if request.proxy_mode not in PROXY_MODES:
        raise UsageError(f"proxy mode {request.proxy_mode!r} is not known; there are: {', '.join(PROXY_MODES)}")
    families_of(request.ip_family)
    if not 1 <= request.workers <= MAX_WORKERS:
        raise UsageError(f"{request.workers} workers: a cluster has 1 to {MAX_WORKERS}")
    binary = request.kube_proxy
    if binary is not None and not (binary.is_file() and os.access(binary, os.X_OK)):
        raise UsageError(
            f"--kube-proxy {binary} is not a file that can be executed",
            next_step="name a kube-proxy binary for this machine, as `go build ./cmd/kube-proxy` makes it",
        )
    return versions.resolve(request.kubernetes or None).release
