"""Minor releases of kube-proxy, and what those before another cannot take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Release = tuple[int, int]
"""Major and minor version."""

LONGEST_COMMENT: Final = 128
"""The most characters that nft takes in a comment (NFTNL_UDATA_COMMENT_MAXLEN of libnftnl and nft's parser)."""
CUTS_COMMENTS: Final = (1, 37)
"""The first release that cuts longer comments in nftables mode (kubernetes #139516)."""
_NO_RELEASE: Final = (0, 0)
"""That of v0.0.0-master, the version of a program that was built without one (k8s.io/component-base/version)."""
_VERSION: Final = re.compile(r"v?(?P<major>\d+)\.(?P<minor>\d+)(?!\d)")


def release_of(version: str) -> Release:
    """Return major and minor version of one such as v1.37.2, to which vendors add; raises UsageError."""
    if not (found := _VERSION.match(version)):
        raise UsageError(f"{version!r} is no version of Kubernetes", next_step="write it as 1.37.2")
    return int(found["major"]), int(found["minor"])


def known_release(version: str) -> Release | None:
    """Return the release of a program by the version that it says; None where that names none."""
    try:
        release = release_of(version)
    except UsageError:
        return None
    return None if release == _NO_RELEASE else release


def oldest_release(nodes: Iterable[Mapping[str, Any]]) -> Release:
    """Return the oldest release of the kubelets of Node objects; each node's kube-proxy is taken to have the same.

    Raises UsageError for a kubelet whose version has no release.
    """
    return min(release_of(node["status"]["nodeInfo"]["kubeletVersion"]) for node in nodes)


def longest_comment(oldest: Release, modes: Collection[str]) -> int | None:
    """Return how many characters NAMESPACE/SERVICE:PORT may have; None where the API alone limits them.

    ``oldest`` is the oldest release of the cluster's kube-proxies, ``modes`` are their proxy modes. A kube-proxy in
    nftables mode before 1.37 has that text in comments: with a longer one every sync fails, and no Service is
    programmed any more (kubernetes #139515). An unknown mode may be that one.
    """
    if oldest >= CUTS_COMMENTS or (modes and set(modes) <= {"iptables", "ipvs"}):
        return None
    return LONGEST_COMMENT
