"""Prepares a requested cluster: checks the machine, gets programs and images, and makes the layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, families_of
from session_affinity.clusters.embedded import (
    binaries,
    bootstrap_policy,
    images,
    iptables_variant,
    node_program,
    preflight,
    proxy_settings,
)
from session_affinity.clusters.embedded.binaries.cache import Cache
from session_affinity.clusters.embedded.binaries.store import digest
from session_affinity.clusters.embedded.layout import WORKERS, Layout, node_layouts
from session_affinity.clusters.options import require_dataplane
from session_affinity.dataplane.proxy_config import IPTABLES, NO_KUBE_PROXY
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from session_affinity.progress import Progress

PROXY_MODES = ("iptables", "nftables")
DEFAULT_PROXY_MODE = "iptables"
MAX_WORKERS = 100


@dataclass(frozen=True)
class ClusterRequest:
    """The cluster to start.

    ``kubernetes`` is a minor or a full version, empty for the default minor; ``proxy_mode`` is None for the default
    one; ``kube_proxy`` is a binary to run instead of the release's; ``deadline_scale`` multiplies all deadlines, for
    slow machines. ``node_program`` is the user's program of every node, or a directory with one for each role; it runs
    beside what ``no_kube_proxy`` and ``no_cni`` do not take away. ``proxy_config`` has kube-proxy's settings.
    ``iptables`` is the variant of iptables on the nodes, None for the default one.
    """

    name: str = "myk8s"
    kubernetes: str = ""
    proxy_mode: str | None = None
    kube_proxy: Path | None = None
    no_kube_proxy: bool = False
    no_cni: bool = False
    node_program: Path | None = None
    proxy_config: Path | None = None
    iptables: str | None = None
    workers: int = WORKERS
    ip_family: str = DEFAULT_IP_FAMILY
    deadline_scale: float = 1.0

    @property
    def mode(self) -> str:
        """The proxy mode of the cluster, ``NO_KUBE_PROXY`` in one without kube-proxy."""
        return NO_KUBE_PROXY if self.no_kube_proxy else self.proxy_mode or DEFAULT_PROXY_MODE


@dataclass(frozen=True)
class PreparedCluster:
    """The layout of a cluster whose programs and images are in the cache, and facts about them for the report."""

    layout: Layout
    facts: dict[str, str]


def prepare(request: ClusterRequest, progress: Progress) -> PreparedCluster:
    """Check the request and the machine, then find, download or build programs and images; start nothing.

    Raises UsageError, PreflightError or BinaryError.
    """
    release = resolve(request)
    node_programs = node_program.programs_of(request.node_program) if request.node_program else {}
    settings = proxy_settings_of(request)
    modes = {part.get("mode") or request.mode for parts in settings.values() for part in parts}
    families = families_of(request.ip_family)
    with progress.step("machine check"):
        variant = variant_of(request, {request.mode, *modes})
        for mode in sorted({request.mode, *modes}):
            preflight.check(mode, request.workers + 1, families, variant=variant, node_programs=bool(node_programs))
    with progress.step("programs"):
        programs = binaries.ensure(release, progress)
    with progress.step("container images"):
        image_set = images.ensure_images(progress.note)
    paths = {name: str(path) for name, path in programs.paths.items()}
    facts = {f"program {name}": origin for name, origin in programs.origins.items()}
    facts |= {f"image {image.name}": f"{image.digest} ({image.description})" for image in image_set.images}
    if variant:
        facts["program iptables"] = f"iptables-{variant} of this machine"
    if request.kube_proxy is not None:
        paths["kube-proxy"] = str(request.kube_proxy.resolve())
        facts["program kube-proxy"] = f"from --kube-proxy: {request.kube_proxy}"
    if request.no_kube_proxy:
        del paths["kube-proxy"]
    facts |= {f"node program of {role}": f"{path}, sha256 {digest(Path(path))}" for role, path in node_programs.items()}
    if request.proxy_config is not None:
        facts["kube-proxy settings"] = f"from --proxy-config: {request.proxy_config}"
    policy = Cache.of_user().bootstrap_policy(release)
    layout = Layout(
        name=request.name,
        kubernetes=release,
        proxy_mode=request.mode,
        programs=paths,
        image_archive=str(image_set.archive),
        deadline_scale=request.deadline_scale,
        nodes=node_layouts(request.name, request.workers, request.ip_family),
        ip_family=request.ip_family,
        cni=not request.no_cni,
        node_programs=node_programs,
        proxy_settings=settings,
        iptables=variant,
        policy_file=str(policy),
        policy_is_known=bool(bootstrap_policy.read(policy)),
    )
    return PreparedCluster(layout, facts)


def variant_of(request: ClusterRequest, modes: Collection[str]) -> str:
    """Return the variant of iptables on the nodes, empty for the machine's own.

    Raises UsageError where no kube-proxy uses iptables, and PreflightError where the machine does not have a variant
    that is asked for.
    """
    if IPTABLES in modes:
        if request.iptables:
            iptables_variant.require(request.iptables)
        return request.iptables or preflight.iptables_variant_of(families_of(request.ip_family))
    if request.iptables:
        raise UsageError(
            f"--iptables {request.iptables} says nothing here: no kube-proxy runs in iptables mode",
            next_step="leave it out, or use --proxy-mode iptables",
        )
    return ""


def proxy_settings_of(request: ClusterRequest) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return the settings of kube-proxy that a request's file has for each node; raises UsageError."""
    if request.proxy_config is None:
        return {}
    nodes = [node.name for node in node_layouts(request.name, request.workers, request.ip_family)]
    return proxy_settings.read(request.proxy_config, request.name, nodes, request.mode)


def resolve(request: ClusterRequest) -> str:
    """Return the full Kubernetes version of a request; raises UsageError when an option of it is not possible."""
    if request.proxy_mode and request.proxy_mode not in PROXY_MODES:
        raise UsageError(f"unknown proxy mode {request.proxy_mode!r}", next_step=f"use one of {', '.join(PROXY_MODES)}")
    families_of(request.ip_family)
    if not 1 <= request.workers <= MAX_WORKERS:
        raise UsageError(f"{request.workers} workers are not possible", next_step=f"use 1 to {MAX_WORKERS} workers")
    require_dataplane(request)
    binary = request.kube_proxy
    if binary is not None and not (binary.is_file() and os.access(binary, os.X_OK)):
        raise UsageError(
            f"--kube-proxy {binary} is not an executable file",
            next_step="give the path of a kube-proxy binary for this machine (go build ./cmd/kube-proxy)",
        )
    return versions.resolve(request.kubernetes or None).release
