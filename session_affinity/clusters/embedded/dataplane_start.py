"""Waits until the user's node programs serve Services on every node of a new cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.model import host_port
from session_affinity.errors import NodeError
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from session_affinity.nodes.node import Node

_SERVICE_PORT: Final = 443
_CONNECT_SECONDS: Final = 2
_NO_CONNECTION: Final = "000"


@dataclass(frozen=True)
class DataplaneStart:
    """The wait for the cluster IP of Service default/kubernetes to answer on the network of every node.

    The API server has created that Service and its EndpointSlice before the nodes are Ready. ``require_alive`` raises
    when a program of the cluster has ended.
    """

    nodes: Mapping[str, Node]
    cluster_ip: str
    require_alive: Callable[[], None]

    def wait(self, seconds: float) -> dict[str, str]:
        """Return the nodes on which the Service does not answer after these seconds, each with the last reason."""
        silent = dict.fromkeys(self.nodes, "not tried")

        def all_answer() -> bool:
            self.require_alive()
            with ThreadPoolExecutor(len(silent)) as pool:
                reasons = dict(zip(silent, pool.map(self._reason, tuple(silent)), strict=True))
            silent.clear()
            silent.update({node: reason for node, reason in reasons.items() if reason})
            return not silent

        poll(all_answer, seconds, pause=0.2)
        return silent

    def _reason(self, node: str) -> str:
        """Return why the Service does not answer on a node; empty when it does."""
        url = f"https://{host_port(self.cluster_ip, _SERVICE_PORT)}/readyz"
        argv = ("curl", "-q", "-sSk", "-m", str(_CONNECT_SECONDS), "-o", "/dev/null", "-w", "%{http_code}", url)
        try:
            done = self.nodes[node].run(argv)
        except NodeError as error:
            return error.what
        return done.stderr.strip() or "no answer" if done.stdout in ("", _NO_CONNECTION) else ""
