"""Wait until a change has reached the nodes, and measure how long that took on each.

Where rules can be read, a node has synced a change when its rules are the expected ones. When rules cannot be read, or
do not match yet, we create a sentinel Service after the change. kube-proxy applies changes in order, so a node that has
programmed the sentinel has also processed the change, correctly or not. Where rules cannot be read, the client sends
requests to the sentinel, and not to the Services under test: that would give it an affinity entry there. Other
dataplanes may apply changes that come together in any order: there, a second sentinel follows once the first answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from session_affinity import recorder
from session_affinity.cluster_objects.services import ServiceRequest, Services
from session_affinity.dataplane import backends
from session_affinity.dataplane.judgement import Judgement, NodePart, Question, judge, part_of
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.nodes.by_node import ByNode, missing_nodes_error, require_nodes
from session_affinity.traffic.answers import target
from session_affinity.waiting import SLOW_MACHINE, poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.claims import KnownBehaviour
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.traffic.client import Client

T = TypeVar("T")

POLL_SECONDS: Final = 0.2
"""The pause between two reads of the nodes: reads take the processor time that kube-proxy needs."""
FIRST_READ_SECONDS: Final = 0.3
"""How long after a change the nodes are read first: on a calm machine kube-proxy has written its rules by then.

Of 48 waits in a run with reads at once, 38 read the nodes for nothing.
"""
SENTINEL_PORT: Final = {"name": "web", "port": 9099, "targetPort": 80, "protocol": "TCP"}
"""A port that no other Service has.

A request sent before the sentinel's rules exist leaves a conntrack entry without translation. For two minutes
(nf_conntrack_tcp_timeout_syn_sent) the kernel translates no request from the same local port to the same address and
port, and the next Service may get the sentinel's address.
"""
ENOUGH_READS: Final = 5
"""So many reads of the nodes must fit into a wait that ends without the expected rules, or nothing is known.

On a calm machine a wait of eleven seconds has forty. Where it has fewer than five, kube-proxy gets so little processor
time too that it may still be at an earlier change, and the wait goes on.
"""
LONGEST_WAIT: Final = 3
"""How long a wait goes on for nodes that are late because the machine is busy, as a multiple of the time of a sync."""
_MOST_DIFFERENCES: Final = 5


@dataclass(frozen=True)
class SyncResult:
    """The state of the nodes at the end of a wait for a sync.

    ``seconds`` has the seconds from the change to the first read with the expected rules, by node; nodes that did not
    get there are left out. ``differences`` and ``late`` have what differed on those at the end, and for which Services.
    ``synced_but_wrong`` are those of them that have programmed the sentinel: they processed the change and still
    differ. ``waited`` is the seconds from the change to the end. ``missing`` are nodes that could not be read, with the
    reasons, and ``allowed_missing`` is how many of them a claim about every node may lack. ``reads`` is how often the
    nodes were read. All but ``services``, ``waited`` and ``reads`` are empty where nodes cannot be read.
    """

    services: tuple[ServiceState, ...]
    states: Mapping[str, NodeSnapshot]
    seconds: Mapping[str, float]
    differences: Mapping[str, tuple[Difference, ...]]
    late: Mapping[str, tuple[ServiceState, ...]]
    waited: float
    synced_but_wrong: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)
    allowed_missing: int = 0
    reads: int = ENOUGH_READS

    def require_every_node(self) -> None:
        """Raise NodeError when more nodes could not be read than a claim about every node may lack."""
        require_nodes(self.missing, self.allowed_missing)

    def require(self, *nodes: str) -> SyncResult:
        """Return self when these nodes, or all, have processed the change; raises NotReadyError with what differs.

        A node that processed it wrongly is no error here: its rules, and what clients see, are for the claims to judge.
        A named node that could not be read is a NodeError.
        """
        if unread := {name: self.missing[name] for name in nodes if name in self.missing}:
            raise missing_nodes_error(unread)
        if late := self._unprocessed(nodes):
            raise self._late_error(late)
        return self

    def require_time(self, *nodes: str) -> SyncResult:
        """Return self; raises NotReadyError when one of these nodes is late and the machine had no time for kube-proxy.

        A late kube-proxy violates a claim only where the wait had time for ``ENOUGH_READS``.
        """
        if self.reads < ENOUGH_READS and (late := self._unprocessed(nodes)):
            raise self._late_error(late)
        return self

    def _unprocessed(self, nodes: Sequence[str]) -> dict[str, tuple[Difference, ...]]:
        """Return the differences of those of the nodes, or of all, that did not process the change, by node."""
        return {
            name: differences
            for name, differences in self.differences.items()
            if differences and name not in self.synced_but_wrong and (not nodes or name in nodes)
        }

    def _late_error(self, late: Mapping[str, Sequence[Difference]]) -> NotReadyError:
        shown = [f"  {line}" for differences in late.values() for line in differences[:_MOST_DIFFERENCES]]
        reads = "" if self.reads >= ENOUGH_READS else f", in {self.reads} reads of the nodes"
        return NotReadyError(
            f"{', '.join(late)}: not programmed {self.waited:.1f} s after the change{reads}:\n" + "\n".join(shown),
            next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
        )

    def slowest(self) -> str:
        """Return the seconds of the slowest node in words."""
        return f"{max(self.seconds.values(), default=self.waited):.2f} s"

    def latency(self) -> str:
        """Return the seconds of each node in words, the slowest first."""
        slowest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest_first) or f"{self.waited:.2f} s"


class RulesOfNodes:
    """What can be asked of nodes whose rules are compared, of whatever else a class has; no dataclass by itself."""

    nodes: Nodes
    proxy_configs: ProxyConfigs
    deadlines: Deadlines

    @property
    def reads_rules(self) -> bool:
        """Whether the nodes' rules can be read and compared."""
        return bool(self.nodes.names) and self.proxy_configs.mode in backends.BACKENDS

    @property
    def backend(self) -> Backend:
        """The backend of the cluster's proxy mode; raises ClusterError when there is none."""
        return backends.of_mode(self.proxy_configs.mode)

    @property
    def sync_seconds(self) -> float:
        """How long a node may take to sync a change, in seconds; kube-proxy may put it off by its minSyncPeriod."""
        return self.deadlines.sync + self.proxy_configs.min_sync_period

    def proxy_of(self, node: str) -> ProxyConfig:
        """Return the settings of a node's kube-proxy; raises ClusterError when they are not known."""
        return self.proxy_configs.of(node)

    def has_behaviour(self, known: KnownBehaviour, node: str) -> bool:
        """Return whether a node's kube-proxy has a known behaviour; raises ClusterError when it is not known."""
        return known.is_in(self.proxy_of(node).expected_release, self.proxy_configs.mode)

    def judge(self, services: Sequence[ServiceState]) -> ByNode[Judgement]:
        """Return how every node's rules for Services differ from the expected ones; raises ClusterError."""
        return self.nodes.judge(Question(self.backend.mode, self.nodes.family, tuple(services)), self._part)

    def _part(self, node: str) -> NodePart:
        return part_of(node, self.proxy_of(node))


@dataclass(frozen=True)
class NodeTestbed(RulesOfNodes):
    """The nodes of a cluster whose rules are compared, without clients."""

    nodes: Nodes
    proxy_configs: ProxyConfigs
    deadlines: Deadlines = DEFAULTS


@dataclass(frozen=True)
class Testbed(RulesOfNodes):
    """The nodes, the client and the Services of a run in one IP family; waits until nodes have synced a change."""

    nodes: Nodes
    proxy_configs: ProxyConfigs
    client: Client
    services: Services
    deadlines: Deadlines = DEFAULTS

    def hz(self, node: str) -> int | None:
        """Return the tick rate of a node's kernel; None where affinity entries are not kept in ticks.

        Raises NodeError.
        """
        return self.nodes.hz(node) if self.backend.counts_connections else None

    def wait_for_sync(
        self, *services: ServiceState, since: float, nodes: Sequence[str] = (), with_entries: bool = False
    ) -> SyncResult:
        """Wait until nodes, all unless some are named, have the expected rules of Services; the result says which do.

        The wait ends early for a node that is synced but wrong: waiting longer would not change its rules. It goes on
        where the machine is so busy that the nodes were read less than ``ENOUGH_READS`` times. ``since`` is
        the ``time.monotonic()`` of the change. Only ``with_entries`` do the resulting states surely have the affinity
        entries: an agent that judges sends none. Raises NotReadyError only where rules cannot be read.
        """
        began = time.time()
        with recorder.suppressed():
            if self.reads_rules:
                names = nodes or (*self.nodes.names, *self.nodes.missing)
                sync = self._by_rules(services, since, names, with_entries=with_entries)
            else:
                sync = self._by_sentinel(services, since)
        recorder.record(sync, since=began)
        return sync

    def wait_for_client_sync(self, *services: ServiceState, since: float) -> SyncResult:
        """Wait until the client's node has processed the change; raises NotReadyError when it is late.

        A claim about what clients see may wait for nothing more. Where that node cannot be read, a sentinel Service
        shows that it has.
        """
        sync = self.wait_for_sync(*services, since=since, nodes=(self.client.node,))
        if self.client.node in sync.missing:
            with recorder.suppressed():
                return self._by_sentinel(services, since)
        return sync.require()

    def compare(self, state: NodeSnapshot, service: ServiceState) -> tuple[Difference, ...]:
        """Return how a node's rules for a Service differ from the expected ones; chains of former endpoints count."""
        return self.backend.compare(state, service, self.proxy_of(state.node))

    def read(self, service: ServiceState) -> dict[str, tuple[Difference, ...]]:
        """Return how every node's rules for a Service differ from the expected ones, by node."""
        return {name: found.all_differences for name, found in self.judge([service]).items()}

    def compare_many(
        self, state: NodeSnapshot, services: Iterable[ServiceState]
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Return how a node's rules for many Services differ from the expected ones, by Service; as ``compare``."""
        return self.backend.compare_many(state, services, self.proxy_of(state.node))

    def differences(self, state: NodeSnapshot, services: Iterable[ServiceState]) -> tuple[Difference, ...]:
        """Return how a node's rules for many Services differ from the expected ones."""
        return tuple(difference for found in self.compare_many(state, services).values() for difference in found)

    def wait_for_removal(self, what_is_left: Callable[[str, NodeSnapshot], T]) -> ByNode[T]:
        """Wait until no node has anything left of deleted Services, and return what each has.

        ``what_is_left`` returns what a node's state still has of them. Nodes that have something left after the time of
        a sync get that of two more: until they have programmed a sentinel Service created after the deletion, and then
        until the next sync.
        """
        left: ByNode[T] = ByNode({})

        def nothing_is_left() -> bool:
            nonlocal left
            left = self.nodes.read().map(what_is_left)
            return not any(left.readable.values())

        if poll(nothing_is_left, self.sync_seconds, pause=POLL_SECONDS):
            return left
        sentinel = self.services.create(ServiceRequest("sentinel"))

        def all_have_the_sentinel() -> bool:
            states = self.nodes.read().readable.values()
            return all(self.backend.has_service(state, sentinel) for state in states)

        try:
            poll(all_have_the_sentinel, self.sync_seconds, pause=POLL_SECONDS)
        finally:
            self.services.delete(sentinel)
        # kube-proxy removes some objects in a sync after the one that processed the deletion.
        poll(nothing_is_left, self.sync_seconds, pause=POLL_SECONDS)
        return left

    def _by_rules(
        self, services: Sequence[ServiceState], since: float, nodes: Sequence[str], *, with_entries: bool
    ) -> SyncResult:
        states: dict[str, NodeSnapshot] = {}
        differences: dict[str, tuple[Difference, ...]] = dict.fromkeys(nodes, ())
        late = {name: list(services) for name in nodes}
        seconds: dict[str, float] = {}
        missing: dict[str, str] = {}
        marked: set[str] = set()
        reads = 0

        def all_programmed(sentinel: ServiceState | None = None) -> bool:
            nonlocal reads
            began = time.monotonic()
            reads += 1
            judged = self._judge_late(services, late, sentinel, with_entries=with_entries)
            for name in judged.missing:
                del late[name], differences[name]
            missing.update(judged.missing)
            for name, found in judged.readable.items():
                if found.lacks:
                    continue
                assert found.snapshot is not None
                states[name] = found.snapshot
                differences[name] = found.all_differences
                late[name] = list(found.differences)
                if not late[name]:
                    del late[name]
                    seconds[name] = began - since
                elif sentinel is not None and found.has_markers:
                    # In the same read that was compared: a node that has the sentinel in it had processed the change.
                    marked.add(name)
            return not late

        synced_but_wrong: frozenset[str] = frozenset()
        began = time.monotonic()
        first = since + FIRST_READ_SECONDS - began
        shortly = min(self.deadlines.sentinel_after, self.sync_seconds)
        if not poll(all_programmed, shortly, pause=POLL_SECONDS, first=first):
            left = began + self.sync_seconds - time.monotonic()
            self._wait_with_sentinel(late, marked, left, all_programmed, lambda: reads >= ENOUGH_READS)
            synced_but_wrong = frozenset(marked & late.keys())
        unprogrammed = {name: tuple(of_node) for name, of_node in late.items()}
        for name in missing:
            states.pop(name, None)
        return SyncResult(
            *(tuple(services), states, seconds, differences, unprogrammed),
            *(time.monotonic() - since, synced_but_wrong, missing, self.nodes.allowed_missing, reads),
        )

    def _judge_late(
        self,
        services: Sequence[ServiceState],
        late: Iterable[str],
        sentinel: ServiceState | None,
        *,
        with_entries: bool,
    ) -> ByNode[Judgement]:
        """Return what the late nodes have of the Services, all of them: one that was right may be wrong again.

        A node that is late may have the rules from before a change that is undone at once, and then follow.
        """
        markers = () if sentinel is None else (sentinel,)
        question = Question(self.backend.mode, self.nodes.family, tuple(services), markers)
        if with_entries:
            # An agent's answer has no affinity entries.
            read = self.nodes.read(tuple(late))
            return read.map(lambda name, state: judge(state, question, self._part(name)))
        # Once there is a sentinel, what a late node has instead is asked for too.
        return self.nodes.judge(question, self._part, tuple(late), awaited=sentinel is None)

    def _wait_with_sentinel(
        self,
        late: Mapping[str, object],
        marked: set[str],
        seconds: float,
        all_programmed: Callable[[ServiceState], bool],
        had_time: Callable[[], bool],
    ) -> None:
        """Wait until all late nodes have the expected rules, or are marked for having a sentinel created now.

        The wait is longer than ``seconds`` where these are not enough to say that a kube-proxy is late.
        """
        sentinel = self.services.create(ServiceRequest("sentinel"))

        def is_over() -> bool:
            return all_programmed(sentinel) or marked >= late.keys()

        try:
            if not poll(is_over, seconds, pause=POLL_SECONDS):
                longer = (LONGEST_WAIT - 1) * self.sync_seconds
                poll(lambda: had_time() or is_over(), longer, pause=POLL_SECONDS)
        finally:
            self.services.delete(sentinel)

    def _by_sentinel(self, services: Sequence[ServiceState], since: float) -> SyncResult:
        for _ in range(1 if self.proxy_configs.mode in backends.BACKENDS else 2):
            self._await_sentinel(since)
        return SyncResult(tuple(services), {}, {}, {}, {}, time.monotonic() - since)

    def _await_sentinel(self, since: float) -> None:
        sentinel = self.services.create(ServiceRequest("sentinel", spec={"ports": [SENTINEL_PORT]}))
        # Short timeouts: a request sent before the rules exist gets no answer, however long the client waits.
        client = self.client.with_short_timeouts

        def answers() -> bool:
            return not client.request(target(sentinel)).failures

        try:
            wait_until(
                answers,
                self.sync_seconds,
                what=f"an answer on {self.client.node} from a sentinel Service created after the change",
                last_state=lambda: f"no answer {time.monotonic() - since:.1f} s after the change",
                next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
            )
        finally:
            self.services.delete(sentinel)
