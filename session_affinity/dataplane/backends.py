"""The dataplanes whose rules and memories the suite can read."""

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
"""By what ``--proxy-mode`` calls them."""


def of_mode(mode: str) -> Backend:
    """Return the dataplane of a proxy mode; raises ClusterError when nodes cannot be read in that mode."""
    if mode not in BACKENDS:
        raise ClusterError(
            f"what nodes hold in {mode} mode is not known to the suite",
            next_step=f"claims about nodes are judged in {' and '.join(BACKENDS)} mode; docs/adding-a-dataplane.md",
        )
    return BACKENDS[mode]
