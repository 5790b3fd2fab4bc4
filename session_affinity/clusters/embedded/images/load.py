"""Imports further images on the nodes of an embedded cluster, as a registry would offer them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded.configuration import CONTAINERD_SOCKET
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.clusters.embedded.cluster import EmbeddedCluster

AT_ONCE: Final = 4
"""The most nodes that unpack an image at a time: they share the processors and the disk of this machine."""


def load(cluster: EmbeddedCluster, archive: Path, *, deadlines: Deadlines = DEFAULTS) -> None:
    """Import the images of an archive (OCI or docker) on every node; raises UsageError and NodeError."""
    if not archive.is_file():
        raise UsageError(f"there is no archive {archive}", next_step="make image builds one: dist/image.tar")
    argv = (
        *(cluster.layout.programs["ctr"], "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"),
        *("images", "import", "--local", str(archive.resolve())),
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in pool.map(lambda node: node.run(argv, timeout=deadlines.image_import), cluster.nodes.values()):
            done.check()
