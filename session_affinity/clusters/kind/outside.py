"""A client outside a kind cluster: a container of the node image on the network of the nodes, which is no node."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.kind.node import KindNode
from session_affinity.clusters.outside import Outside
from session_affinity.dataplane.model import family_of
from session_affinity.nodes.open_shells import OpenShells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.kind.engine import Engine

_PREFIX: Final = {"IPv4": 32, "IPv6": 128}


class KindOutsideHost(OpenShells):
    """The container; commands run in it as they do on a node."""

    place: Final = "the network of kind"

    def lead(self, address: str, node_address: str) -> bool:
        """Add a route to an address by a node (see ``clusters.outside.OutsideHost``)."""
        route = f"{address}/{_PREFIX[family_of(address)]}"
        self.run(("ip", "route", "replace", route, "via", node_address)).check()
        return True


def container_name(cluster: str) -> str:
    """Return the name of the container of a cluster's client outside."""
    return f"{cluster}-outside"


@contextlib.contextmanager
def outside_of(cluster: str, image: str, engine: Engine) -> Iterator[Outside]:
    """Yield a client outside a cluster; raises ClusterError.

    The container of a run that was killed is replaced. It goes with the cluster too (see ``ClusterLifetime.remove``).
    """
    name = container_name(cluster)
    engine.remove_container(name)
    try:
        engine.run_idle(name, image)
        yield Outside(KindOutsideHost(KindNode(name, engine.program)))
    finally:
        engine.remove_container(name)
