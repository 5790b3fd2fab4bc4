"""A node whose rules somebody flushed, watched in the background until kube-proxy has written them again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError, NodeError, SuiteError
from session_affinity.scenarios.disruption import rule_tampering
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.kube_proxy import KubeProxies
    from session_affinity.testbed.testbed import Testbed

CANARIES_SECONDS: Final = 5.0
"""How long kube-proxy waits for all tables to be flushed once it misses a canary (pkg/util/iptables, Monitor)."""
_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Repair:
    """How a node came back: after how many seconds, of how many allowed, or what still differed then.

    ``period`` is the syncPeriod of its kube-proxy, in seconds.
    """

    service: ServiceState
    node: str
    period: float
    allowed: float
    took: float
    differences: tuple[Difference, ...]


class Flush:
    """Flushes a node's rules and watches what becomes of them; ``start`` it, and ask for the ``result`` later."""

    def __init__(self, testbed: Testbed, proxies: KubeProxies, service: ServiceState, node: str) -> None:
        self._programming = testbed
        self._proxies = proxies
        self._service = service
        self._node = node
        self._thread: threading.Thread | None = None
        self._period = 0.0
        self._repair: Repair | None = None
        self._error: Exception | None = None

    def start(self) -> Flush:
        """Flush, and go on watching in the background; raises NodeError when the node cannot be flushed."""
        nodes = self._programming.nodes
        self._period = self._proxies.sync_period(self._node)
        nodes.run(self._node, rule_tampering.flush(nodes.read_one(self._node))).check()
        self._thread = threading.Thread(target=self._watch, args=(time.monotonic(),), name="flush-watch", daemon=True)
        self._thread.start()
        return self

    def join(self) -> None:
        """Wait until the node is no longer watched; at once where the watch was not started."""
        if self._thread is not None:
            self._thread.join()

    def result(self) -> Repair:
        """Wait until the node is right again or its time is over, and return how it went; raises SuiteError."""
        if self._thread is None:
            raise ClusterError(f"the rules of {self._node} were not flushed: call start() before result()")
        self._thread.join()
        if self._repair is None:
            if isinstance(self._error, SuiteError):
                raise self._error
            raise ClusterError(
                f"{self._node} could not be watched after its rules were flushed: {self._error!r}"
            ) from self._error
        return self._repair

    def _watch(self, began: float) -> None:
        try:
            self._repair = self._watched(began)
        except Exception as error:  # noqa: BLE001 - result() raises it in the main thread
            self._error = error

    def _watched(self, began: float) -> Repair:
        allowed = self._period + CANARIES_SECONDS + self._programming.sync_seconds
        found: list[tuple[Difference, ...]] = []

        def right() -> bool:
            state = self._programming.nodes.read_one(self._node)
            found.append(self._programming.compare(state, self._service))
            return not found[-1]

        if right():
            raise NodeError(f"{self._node}: rules were flushed and are there all the same")
        poll(right, began + allowed - time.monotonic(), pause=_PAUSE_SECONDS)
        took = time.monotonic() - began
        return Repair(self._service, self._node, self._period, allowed, took, found[-1])
