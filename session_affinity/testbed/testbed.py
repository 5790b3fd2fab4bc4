"""Waiting for a change to reach the nodes, and how long that took on each.

Where rules can be read, a change has arrived when they are what the Services call for. Where they cannot, or are not, a
Service made after the change, the witness, stands for it: kube-proxy applies what it learns in the order it learns
it, so a node that knows the witness has got the change too, whatever it made of it. Where rules cannot be read, the
witness is asked; the Services themselves are left alone, as asking them would pin the client. Other dataplanes may
apply what they learn together in any order: there, a second witness is made when the first one answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.cluster_objects.services import ServiceRequest, Services
from session_affinity.dataplane import backends
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import target
from session_affinity.waiting import SLOW_MACHINE, poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.traffic.client import Client

POLL_SECONDS: Final = 0.15
"""How long nodes are left alone between two reads: looking at them takes what they need to get on."""
SENTINEL_PORT: Final = {"name": "web", "port": 9099, "targetPort": 80, "protocol": "TCP"}
"""A port that no other Service has: a request that comes before the rules leaves an entry in conntrack, untranslated.

For two minutes it keeps whoever sends from the same local port to the same address and port from being translated, and
the witness's address may be the next Service's.
"""
_SHOWN: Final = 5


@dataclass(frozen=True)
class SyncResult:
    """What the nodes held at the end of a wait.

    ``seconds`` has, for each node that was programmed in time, how long after the change it was first seen so, to the
    accuracy of one read. ``differences`` has what the others still lacked, ``late`` the Services they lacked it of;
    ``synced_but_wrong`` are those of them that have a Service made later: they processed the change and still differ.
    All are empty where nodes cannot be read.
    """

    services: tuple[ServiceState, ...]
    states: Mapping[str, NodeSnapshot]
    seconds: Mapping[str, float]
    differences: Mapping[str, tuple[Difference, ...]]
    late: Mapping[str, tuple[ServiceState, ...]]
    waited: float
    synced_but_wrong: frozenset[str] = frozenset()

    def require(self, *nodes: str) -> SyncResult:
        """Return self when the change has reached these nodes, or all; raises NotReadyError naming what they lack.

        What a node has made of it is for the claims to judge: by the rules, or by what clients see.
        """
        late = {
            name: found
            for name, found in self.differences.items()
            if found and name not in self.synced_but_wrong and (not nodes or name in nodes)
        }
        if late:
            shown = [f"  {one}" for found in late.values() for one in found[:_SHOWN]]
            raise NotReadyError(
                f"{', '.join(late)}: not programmed {self.waited:.1f} s after the change:\n" + "\n".join(shown),
                next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
            )
        return self

    def slowest(self) -> str:
        """Return how long the slowest node took."""
        return f"{max(self.seconds.values(), default=self.waited):.2f} s"

    def latency(self) -> str:
        """Return how long each node took, the slowest first."""
        slowest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest_first) or f"{self.waited:.2f} s"


@dataclass(frozen=True)
class Testbed:
    """Waits until nodes hold what Services call for."""

    nodes: Nodes
    proxy: ProxyConfig
    client: Client
    services: Services
    deadlines: Deadlines = DEFAULTS

    @property
    def reads_rules(self) -> bool:
        """Whether the nodes' rules can be read and compared."""
        return bool(self.nodes.names) and self.proxy.mode in backends.BACKENDS

    @property
    def backend(self) -> Backend:
        """The dataplane of this cluster's mode; raises ClusterError when the suite knows none for it."""
        return backends.of_mode(self.proxy.mode)

    def hz(self, node: str) -> int | None:
        """Return the tick rate of a node's kernel where memories are kept in ticks, else None; raises NodeError."""
        return self.nodes.hz(node) if self.backend.counts_connections else None

    def wait_for_sync(self, *services: ServiceState, since: float, nodes: Sequence[str] = ()) -> SyncResult:
        """Wait until nodes, all unless some are named, hold what the Services call for; the result says which do.

        The wait ends early for a node that is overtaken: it will not change its mind. ``since`` is the
        ``time.monotonic()`` of the change. Raises NotReadyError only where rules cannot be read.
        """
        began = time.time()
        with recorder.suppressed():
            if self.reads_rules:
                sync = self._by_rules(services, since, nodes or self.nodes.names)
            else:
                sync = self._by_sentinel(services, since)
        recorder.record(sync, since=began)
        return sync

    def wait_for_client_sync(self, *services: ServiceState, since: float) -> SyncResult:
        """Wait until the client's node has got the change: all that a claim about what clients see may wait for.

        Raises NotReadyError when it has not in time.
        """
        return self.wait_for_sync(*services, since=since, nodes=(self.client.node,)).require()

    def compare(self, state: NodeSnapshot, service: ServiceState) -> tuple[Difference, ...]:
        """Return how a node's rules for a Service differ from what it calls for; chains of former endpoints count."""
        return self.backend.compare(state, service, self.proxy)

    def read(self, service: ServiceState) -> dict[str, tuple[Difference, ...]]:
        """Read every node anew and return how its rules for a Service differ from what it calls for."""
        return {name: self.compare(state, service) for name, state in self.nodes.read().items()}

    def differences(self, state: NodeSnapshot, services: Iterable[ServiceState]) -> tuple[Difference, ...]:
        """Return how a node's rules for many Services differ from what they call for."""
        found = self.backend.compare_many(state, services, self.proxy)
        return tuple(one for differences in found.values() for one in differences)

    def _by_rules(self, services: Sequence[ServiceState], since: float, nodes: Sequence[str]) -> SyncResult:
        states: dict[str, NodeSnapshot] = {}
        differences: dict[str, tuple[Difference, ...]] = dict.fromkeys(nodes, ())
        late = {name: list(services) for name in nodes}
        seconds: dict[str, float] = {}

        def all_programmed() -> bool:
            began = time.monotonic()
            states.update(self.nodes.read(late))
            for name in list(late):
                found = self.backend.compare_many(states[name], late[name], self.proxy)
                differences[name] = tuple(one for own in found.values() for one in own)
                late[name] = [own for own, wrong in found.items() if wrong]
                if not late[name]:
                    del late[name]
                    seconds[name] = began - since
            return not late

        synced_but_wrong: frozenset[str] = frozenset()
        began = time.monotonic()
        if not poll(all_programmed, min(self.deadlines.sentinel_after, self.deadlines.sync), pause=POLL_SECONDS):
            left = began + self.deadlines.sync - time.monotonic()
            synced_but_wrong = self._wait_with_sentinel(late, states, left, all_programmed)
        unprogrammed = {name: tuple(left) for name, left in late.items()}
        return SyncResult(
            tuple(services), states, seconds, differences, unprogrammed, time.monotonic() - since, synced_but_wrong
        )

    def _wait_with_sentinel(
        self,
        late: Mapping[str, object],
        states: Mapping[str, NodeSnapshot],
        seconds: float,
        all_programmed: Callable[[], bool],
    ) -> frozenset[str]:
        """Wait until all late nodes are programmed or know a Service that is made now; return those that know it."""
        sentinel = self.services.create(ServiceRequest("sentinel"))
        synced_but_wrong: set[str] = set()

        def all_told() -> bool:
            if all_programmed():
                return True
            # Of the very reading that was compared: a node that knows the witness in it knew the change.
            synced_but_wrong.update(name for name in late if self.backend.has_service(states[name], sentinel))
            return synced_but_wrong >= late.keys()

        try:
            poll(all_told, seconds, pause=POLL_SECONDS)
        finally:
            self.services.delete(sentinel)
        return frozenset(synced_but_wrong & late.keys())

    def _by_sentinel(self, services: Sequence[ServiceState], since: float) -> SyncResult:
        for _ in range(1 if self.proxy.mode in backends.BACKENDS else 2):
            self._await_sentinel(since)
        return SyncResult(tuple(services), {}, {}, {}, {}, time.monotonic() - since)

    def _await_sentinel(self, since: float) -> None:
        sentinel = self.services.create(ServiceRequest("sentinel", spec={"ports": [SENTINEL_PORT]}))
        # Impatient: a request that came before the rules is lost, and waiting for it is waiting in vain.
        client = self.client.impatient

        def answers() -> bool:
            return not client.request(target(sentinel)).failures

        try:
            wait_until(
                answers,
                self.deadlines.sync,
                what=f"an answer on {self.client.node} from a Service made after the change",
                last_state=lambda: f"no answer {time.monotonic() - since:.1f} s after the change",
                next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
            )
        finally:
            self.services.delete(sentinel)
