"""What was seen while kube-proxy was restarted, stood still, or was killed, and while a rule was in its way.

Each observation disturbs one node, and nothing of it is left there but what a claim is about.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, NO_AFFINITY, ServiceRequest
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.errors import NodeError
from session_affinity.scenarios.disruption import rule_tampering
from session_affinity.traffic.answers import target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.kube_proxy import KubeProxies
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers

STRANGERS: Final = {"IPv4": "198.51.100.7", "IPv6": "2001:db8::7"}
"""A client that is not there, of an address for documentation."""
FIRST_ANSWERS: Final = 10
MANY: Final = 20
TRIES: Final = 5
"""How often a kube-proxy is tried to be met as it writes."""
BUSY: Final = "the node is too busy to be looked at as often as that takes: run again with less beside it"


@dataclass(frozen=True)
class NodeRules:
    """What a node held in the end: how that differs from what each Service calls for, ``waited`` seconds after."""

    node: str
    differences: tuple[tuple[ServiceState, tuple[Difference, ...]], ...]
    waited: float


@dataclass(frozen=True)
class Restart:
    """A client that asked all the time while its node's kube-proxy was down for ``down`` seconds, and its entry."""

    service: ServiceState
    answers: Answers
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    held: NodeRules
    down: float


@dataclass(frozen=True)
class ChangesWhileStopped:
    """What a node made of changes that its kube-proxy did not see happen.

    ``timed`` had its timeout patched, with a client's entry before and after; ``off`` was patched to None, with what is
    remembered of a client; ``gone`` was deleted, with what is left of it.
    """

    held: NodeRules
    timed: ServiceState
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    off: ServiceState
    off_remembers: tuple[AffinityEntry, ...]
    gone: ServiceState
    gone_left: tuple[str, ...]


@dataclass(frozen=True)
class BlockingRule:
    """What a node made of a rule in the way of one Service: ``other`` was made then, ``own`` is after its own change.

    ``failed`` are its failed syncs before and after.
    """

    other: NodeRules
    own: NodeRules
    failed: tuple[int, int]


@dataclass(frozen=True)
class Outages:
    """Makes the observations; ``others`` are the nodes that the client is not on.

    What each makes or disturbs is removed or mended at its end, whether or not it succeeds.
    """

    testbed: Testbed
    proxies: KubeProxies
    others: Sequence[str]

    def restart(self) -> Restart:
        """Kill the kube-proxy of the client's node and have it started again; raises SuiteError."""
        testbed, client = self.testbed, self.testbed.client
        node, nodes = client.node, self.testbed.nodes
        with contextlib.ExitStack() as at_end:
            (service,) = self._known(at_end, [ServiceRequest("restart", CLIENT_IP)], node)
            stream = at_end.enter_context(client.stream(target(service)))
            stream.wait_for(lambda answers: len(answers) >= FIRST_ANSWERS, testbed.deadlines.first_answers)
            before = nodes.read_one(node)
            started, since = self._started(at_end, node), time.monotonic()
            self.proxies.kill(node)
            down = self.proxies.revive(node, before=started)
            # Its rules were right all the time: that of a later Service tell that it has written all of them again.
            (later,) = self._made(at_end, [ServiceRequest("later", CLIENT_IP)])
            sync = testbed.wait_for_sync(service, later, since=since, nodes=(node,))
            answers = stream.stop()
            after = nodes.read_one(node)
            held = self._held(after, (service, later), sync)
        was, now = (self._of(state, service, client.address) for state in (before, after))
        return Restart(service, answers, was, now, held, down)

    def toggle(self) -> ChangesWhileStopped:
        """Change Services while a kube-proxy stands still, which is then killed and started; raises SuiteError."""
        testbed, nodes, services = self.testbed, self.testbed.nodes, self.testbed.services
        node, backend = self.others[0], self.testbed.backend
        sticky = [ServiceRequest(purpose, CLIENT_IP, DEFAULT_TIMEOUT) for purpose in ("off", "timed", "gone")]
        with contextlib.ExitStack() as at_end:
            on, off, timed, gone = self._known(at_end, (ServiceRequest("on", NO_AFFINITY), *sticky), node)
            stranger = STRANGERS[timed.family]
            for service in (off, timed):
                store = next(iter(backend.affinity_stores(service)))
                nodes.run(node, backend.pin_argv(service, stranger, store)).check()
            before = self._of(nodes.read_one(node), timed, stranger)

            started = self._started(at_end, node)
            self.proxies.pause(node)
            on, off = services.switch(on, CLIENT_IP), services.switch(off, NO_AFFINITY)
            (timed,) = services.patch_timeouts([timed], 30)
            services.delete(gone)
            (new,) = self._made(at_end, [ServiceRequest("new", CLIENT_IP)])
            since = time.monotonic()
            self.proxies.kill(node)
            self.proxies.revive(node, before=started)

            sync = testbed.wait_for_sync(on, off, timed, new, since=since, nodes=(node,))
            state = nodes.read_one(node)
            held = self._held(state, (on, off, timed, new), sync)
        return ChangesWhileStopped(
            held,
            timed,
            before,
            self._of(state, timed, stranger),
            off,
            self._of(state, off, stranger),
            gone,
            backend.objects_of(state, gone),
        )

    def killed_while_writing(self) -> NodeRules:
        """Make many Services, kill a kube-proxy as it writes their rules, and have it started; raises SuiteError."""
        node = self.others[1 % len(self.others)]
        made: list[ServiceState] = []
        with contextlib.ExitStack() as at_end:
            started = self._started(at_end, node)
            for _ in range(TRIES):
                # Standing still until all are there, it has them to write at once, which takes it a while.
                self.proxies.pause(node)
                made += self._made(at_end, [ServiceRequest("written", CLIENT_IP) for _ in range(MANY)])
                if self.proxies.kill_during_sync(node):
                    break
            else:
                raise NodeError(f"{node}: kube-proxy was not met writing in any of {TRIES} syncs", next_step=BUSY)
            since = time.monotonic()
            self.proxies.revive(node, before=started)
            sync = self.testbed.wait_for_sync(*made, since=since, nodes=(node,))
            return self._held(self.testbed.nodes.read_one(node), made, sync)

    def obstacle(self) -> BlockingRule:
        """Put a rule in the way of a Service, make another one, then change the first; raises SuiteError."""
        testbed, nodes = self.testbed, self.testbed.nodes
        node, mode = testbed.client.node, testbed.backend.mode
        failed = self.proxies.failed_syncs(node)
        with contextlib.ExitStack() as at_end:
            (service,) = self._known(at_end, [ServiceRequest("obstructed", CLIENT_IP)], node)
            state = nodes.read_one(node)
            # Removed also where the claim fails: kube-proxy may leave the rule where it is, and the chain with it.
            at_end.callback(nodes.run, node, rule_tampering.remove_obstacle(state, service, mode))
            nodes.run(node, rule_tampering.obstacle(state, service, mode)).check()
            if not testbed.compare(nodes.read_one(node), service):
                raise NodeError(f"{node}: a rule was put before those of {service.key}, and nothing differs")

            since = time.monotonic()
            (other,) = self._made(at_end, [ServiceRequest("other", CLIENT_IP)])
            sync = testbed.wait_for_sync(other, since=since, nodes=(node,))
            others = self._held(nodes.read_one(node), (other,), sync)
            since = time.monotonic()
            (patched,) = testbed.services.patch_timeouts([service], 30)
            sync = testbed.wait_for_sync(patched, since=since, nodes=(node,))
            own = self._held(nodes.read_one(node), (patched,), sync)
            return BlockingRule(others, own, (failed, self.proxies.failed_syncs(node)))

    def _started(self, at_end: contextlib.ExitStack, node: str) -> float:
        """Return when a kube-proxy was started, and have it run again at the end, whatever is done to it meanwhile."""
        started = self.proxies.started(node)
        at_end.callback(self.proxies.mend, node, before=started)
        return started

    def _made(self, at_end: contextlib.ExitStack, wishes: Sequence[ServiceRequest]) -> list[ServiceState]:
        """Make Services that are removed at the end."""
        made = self.testbed.services.create_all(wishes)
        for service in made:
            at_end.callback(self.testbed.services.delete, service)
        return made

    def _known(self, at_end: contextlib.ExitStack, wishes: Sequence[ServiceRequest], node: str) -> list[ServiceState]:
        """Make Services that are removed at the end, and wait until a node knows them; raises NotReadyError."""
        since = time.monotonic()
        made = self._made(at_end, wishes)
        self.testbed.wait_for_sync(*made, since=since, nodes=(node,)).require(node)
        return made

    def _held(self, state: NodeSnapshot, services: Iterable[ServiceState], sync: SyncResult) -> NodeRules:
        found = tuple((service, self.testbed.compare(state, service)) for service in services)
        return NodeRules(state.node, found, sync.waited)

    def _of(self, state: NodeSnapshot, service: ServiceState, client: str) -> tuple[AffinityEntry, ...]:
        return of_client(self.testbed.backend.affinity_entries(state, service), client)
