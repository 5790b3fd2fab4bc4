"""The dataplanes whose rules and memories the suite can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.iptables.backend import Iptables
from session_affinity.dataplane.nftables.backend import Nftables
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.backend import Dataplane

IPTABLES: Final[Dataplane] = Iptables()
NFTABLES: Final[Dataplane] = Nftables()
PLUGS: Final[Mapping[str, Dataplane]] = {plug.mode: plug for plug in (IPTABLES, NFTABLES)}
"""By what ``--proxy-mode`` calls them."""


def of_mode(mode: str) -> Dataplane:
    """Return the dataplane of a proxy mode; raises ClusterError when nodes cannot be read in that mode."""
    if mode not in PLUGS:
        raise ClusterError(
            f"what nodes hold in {mode} mode is not known to the suite",
            next_step=f"claims about nodes are judged in {' and '.join(PLUGS)} mode; docs/adding-a-dataplane.md",
        )
    return PLUGS[mode]
