"""The backends by proxy mode: the proxy modes whose rules and affinity entries the suite can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.iptables.backend import Iptables
from session_affinity.dataplane.nftables.backend import Nftables
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.backend import Backend

IPTABLES: Final[Backend] = Iptables()
NFTABLES: Final[Backend] = Nftables()
BACKENDS: Final[Mapping[str, Backend]] = {backend.mode: backend for backend in (IPTABLES, NFTABLES)}
"""The backends by their ``--proxy-mode``."""


def of_mode(mode: str) -> Backend:
    """Return the backend of a proxy mode; raises ClusterError for a mode that has none."""
    if mode not in BACKENDS:
        raise ClusterError(
            f"the suite cannot read the rules of kube-proxy in {mode} mode",
            next_step=(
                f"claims about nodes need {' or '.join(BACKENDS)} mode; to add a backend see docs/adding-a-dataplane.md"
            ),
        )
    return BACKENDS[mode]
