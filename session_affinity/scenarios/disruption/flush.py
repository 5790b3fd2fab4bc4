"""A node whose rules are flushed, watched in the background until kube-proxy has restored them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from session_affinity.errors import ClusterError, NodeError, SuiteError
from session_affinity.nodes.kube_proxy import CUT_OFF_SECONDS
from session_affinity.scenarios.disruption import rule_tampering
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.kube_proxy import IdleCheck, KubeProxies
    from session_affinity.testbed.testbed import Testbed

CANARIES_SECONDS: Final = 5.0
"""How long kube-proxy waits for all tables to be flushed after it misses a canary (pkg/util/iptables, Monitor)."""
FLUSHES: Final = 3
"""How often a node is flushed at most until its rules are seen to be gone."""
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Repair:
    """The repair of a node after ``took`` of ``allowed`` seconds, or the differences that were left then.

    Differences were left for all of ``allowed``, or until there was no sync to come that could restore the rules.

    ``period`` is the syncPeriod of its kube-proxy, in seconds. ``quiet`` says that its kube-proxy learned of no change
    of a Service in that time.
    """

    service: ServiceState
    node: str
    period: float
    allowed: float
    took: float
    differences: tuple[Difference, ...]
    quiet: bool = False


class FlushedService(NamedTuple):
    """A node that is to be flushed, and a Service that was created for it at ``since`` on the monotonic clock."""

    node: str
    service: ServiceState
    since: float


class Flush:
    """Flushes a node's rules and watches until they are restored: ``start`` it early, and get the ``result`` late.

    ``tables`` are those to flush in iptables mode; all unless some are named. With ``quiet`` the node's kube-proxy is
    kept from learning of changes meanwhile, where that is possible for long enough: a change would make it write rules.
    It is flushed once its kube-proxy has written those that it knows of. ``until_idle`` is for rules that only a sync
    could restore: the watch ends before the time of one is over where none is to come.
    """

    def __init__(
        self,
        testbed: Testbed,
        proxies: KubeProxies,
        service: ServiceState,
        node: str,
        *,
        tables: Sequence[str] = (),
        quiet: bool = False,
        until_idle: bool = False,
    ) -> None:
        self._testbed = testbed
        self._proxies = proxies
        self._service = service
        self._node = node
        self._tables = tables
        self._quiet = quiet
        self._until_idle = until_idle
        self._proxy_started = 0.0
        self._thread: threading.Thread | None = None
        self._period = 0.0
        self._repair: Repair | None = None
        self._error: Exception | None = None

    def start(self) -> Flush:
        """Flush the node and watch it in the background; raises NodeError.

        A node whose kube-proxy is kept from changes is flushed in the background: what hinders it, ``result`` raises.
        """
        self._period = self._proxies.sync_period(self._node)
        self._quiet = self._quiet and self._proxies.idle_seconds(self._node) + self._allowed <= CUT_OFF_SECONDS
        if self._quiet:
            self._proxy_started = self._proxies.started(self._node)
            self._quiet = self._proxies.cut_off(self._node)
        if not self._quiet:
            self._flush()
        self._thread = threading.Thread(target=self._watch, name="flush-watch", daemon=True)
        self._thread.start()
        return self

    def _flush(self) -> None:
        nodes, mode = self._testbed.nodes, self._testbed.backend.mode
        state = nodes.read_one(self._node)
        nodes.run(self._node, rule_tampering.flush(state, self._service, mode, *self._tables)).check()

    @property
    def _allowed(self) -> float:
        """How long the repair may take, in seconds."""
        return self._noticed + self._testbed.sync_seconds

    @property
    def _noticed(self) -> float:
        """After how many seconds kube-proxy has noticed the flush, and restores the rules in a sync."""
        return self._period + CANARIES_SECONDS

    def join(self) -> None:
        """Wait for the end of the watching thread, if it was started."""
        if self._thread is not None:
            self._thread.join()

    def result(self) -> Repair:
        """Wait until the rules are restored or the allowed time is over, and return the repair; raises SuiteError."""
        if self._thread is None:
            raise ClusterError(f"the rules of {self._node} were not flushed: call start() before result()")
        self._thread.join()
        if self._repair is None:
            if isinstance(self._error, SuiteError):
                raise self._error
            raise ClusterError(
                f"{self._node} could not be watched after its rules were flushed: {self._error!r}",
                next_step="this is an error of the suite: please report it with the traceback",
            ) from self._error
        return self._repair

    def _watch(self) -> None:
        try:
            try:
                if self._quiet:
                    self._proxies.wait_until_idle(self._node)
                    self._flush()
                self._repair = self._wait_for_repair(time.monotonic())
            finally:
                if self._quiet:
                    self._proxies.connect(self._node, before=self._proxy_started)
        except Exception as error:  # noqa: BLE001 - result() raises it in the main thread
            self._error = error

    def _wait_for_repair(self, began: float) -> Repair:
        allowed = self._allowed
        reads: list[tuple[Difference, ...]] = []

        def is_repaired() -> bool:
            state = self._testbed.nodes.read_one(self._node)
            reads.append(self._testbed.compare(state, self._service))
            return not reads[-1]

        for number in range(FLUSHES):
            if number:
                # kube-proxy may have written them again before a busy machine read the node.
                self._flush()
                began = time.monotonic()
            if not is_repaired():
                break
        else:
            raise NodeError(
                f"{self._node}: the rules of {self._service.key} are still there after {FLUSHES} flushes",
                next_step="check that kube-proxy writes its rules with the same iptables variant that was flushed",
            )
        noticed = began + self._noticed
        is_idle = self._proxies.idle_check(self._node) if self._until_idle else None

        def is_decided() -> bool:
            # The kube-proxy first: what is read after that has all that it wrote.
            nothing_to_come = is_idle is not None and time.monotonic() >= noticed and _is_known(is_idle)
            return is_repaired() or nothing_to_come

        poll(is_decided, began + allowed - time.monotonic(), pause=_PAUSE_SECONDS)
        took = time.monotonic() - began
        return Repair(self._service, self._node, self._period, allowed, took, reads[-1], self._quiet)


def _is_known(is_idle: IdleCheck) -> bool:
    """Return whether a kube-proxy says that it is idle."""
    try:
        return is_idle()
    except NodeError:
        return False
