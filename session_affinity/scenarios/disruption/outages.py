"""Observations while a kube-proxy is restarted, stopped or killed, and while a foreign rule blocks a Service.

Each observation disturbs one node and removes or mends afterwards what it changed.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.datagrams import udp_ports
from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, NO_AFFINITY, ServiceRequest
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.errors import NodeError
from session_affinity.scenarios.disruption import rule_tampering
from session_affinity.traffic.answers import target, targets
from session_affinity.traffic.stream import since as sent_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from session_affinity.cluster_objects.datagrams import DatagramEndpoints
    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.kube_proxy import FailedSyncs, KubeProxies
    from session_affinity.scenarios.disruption.allocation import DisruptionNodes
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.flows import Flows

ABSENT_CLIENTS: Final = {"IPv4": "198.51.100.7", "IPv6": "2001:db8::7"}
"""Addresses for documentation (RFC 5737, RFC 3849) that stand for a client without a pod."""
FIRST_ANSWERS: Final = 10
"""Answers of a stream before kube-proxy is killed."""
AFTERWARDS: Final = 10
"""Requests to each Service after the outage."""
FLOWS: Final = 2
"""Flows of datagrams that go on during an outage."""
NOBODY: Final = {"app": "nobody"}
"""A selector that selects no pod."""
PATCHED_TIMEOUT: Final = 3600
"""Seconds, another timeout than the default and longer than any run: a client is bound until it is asked for."""
MANY: Final = 20
"""Services of which kube-proxy writes the rules when it is killed."""
TRIES: Final = 5
"""How many outages are made at most, until a sync fails."""
KILLS: Final = 10
"""In how many syncs a kube-proxy is to be killed at most, until it is caught while it writes.

On a machine that had half its usual speed, five were not enough once in some 300 runs.
"""


class Outage(StrEnum):
    """The outages that Services are created for before they begin."""

    RESTART = "restart"
    STOPPED = "stopped"
    FAILING = "failing"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class NodeRules:
    """A node's rules ``waited`` seconds after a change: the differences from the expected ones, by Service."""

    node: str
    differences: tuple[tuple[ServiceState, tuple[Difference, ...]], ...]
    waited: float


@dataclass(frozen=True)
class KubeProxyRestart:
    """A client's requests and flows of datagrams during a restart of its node's kube-proxy.

    ``rules`` are the node's afterwards, and ``before`` and ``after`` the client's affinity entries; None and none where
    rules cannot be read. ``flows`` has the answers of each flow, to the Service ``flowing``. ``down`` is how many
    seconds kube-proxy did not run.
    """

    service: ServiceState
    answers: Answers
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    rules: NodeRules | None
    down: float
    flowing: ServiceState
    flows: tuple[Answers, ...]


@dataclass(frozen=True)
class MissedChanges:
    """The client's node after changes that its kube-proxy could not write at first.

    ``on`` was switched to ClientIP, ``off`` to None, the timeout of ``patched`` was changed, ``new`` was created,
    ``deleted`` was deleted and ``emptied`` lost its endpoints. The client had sent requests to ``patched`` before, with
    the answers ``first``; ``answers`` are those to its requests to ``on``, ``patched`` and ``new`` afterwards, ``gone``
    that to one to ``deleted``, ``flows`` those of each flow of datagrams to ``emptied``, where syncs failed.

    ``rules`` are the node's, with the entries of an absent client for ``patched`` before and after, those left for
    ``off``, and the names of chains, lists or sets that are left of ``deleted``; None and none where rules cannot be
    read.
    """

    on: ServiceState
    off: ServiceState
    patched: ServiceState
    new: ServiceState
    deleted: ServiceState
    emptied: ServiceState
    first: Answers
    answers: Answers
    gone: Answers
    flows: tuple[Answers, ...]
    waited: float
    rules: NodeRules | None = None
    before: tuple[AffinityEntry, ...] = ()
    after: tuple[AffinityEntry, ...] = ()
    off_entries: tuple[AffinityEntry, ...] = ()
    deleted_objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockingRule:
    """A node with a foreign rule that blocks one Service's rules.

    ``other`` are its rules for a Service created then, ``blocked`` those for the blocked Service after that Service was
    changed. ``failed_syncs`` are kube-proxy's counters before and after.
    """

    other: NodeRules
    blocked: NodeRules
    failed_syncs: tuple[FailedSyncs, FailedSyncs]


@dataclass(frozen=True)
class Outages:
    """Makes the observations; ``nodes`` are those other than the client's, ``prepared`` are Services for the next ones.

    Each observation removes and mends at its end what it created or disturbed, whether or not it succeeds. All of them
    raise SuiteError.
    """

    testbed: Testbed
    proxies: KubeProxies
    nodes: DisruptionNodes
    datagrams: DatagramEndpoints
    prepared: dict[Outage, list[ServiceState]] = field(default_factory=dict)

    def prepare(self, *outages: Outage) -> None:
        """Create the Services of several outages together, so that the client's node syncs them at once."""
        by_outage = {outage: self._requests(outage) for outage in outages}
        since, node = time.monotonic(), self.testbed.client.node
        with contextlib.ExitStack() as after_an_error:
            created = self._create(after_an_error, [each for requests in by_outage.values() for each in requests])
            self.testbed.wait_for_sync(*created, since=since, nodes=(node,)).require(node)
            after_an_error.pop_all()
        left = iter(created)
        self.prepared.update({outage: [next(left) for _ in requests] for outage, requests in by_outage.items()})

    def restart(self) -> KubeProxyRestart:
        """Kill the kube-proxy of the client's node and start it again while the client sends requests and datagrams."""
        testbed, client = self.testbed, self.testbed.client
        node = client.node
        with contextlib.ExitStack() as at_end:
            service, flowing = self._services_of(at_end, Outage.RESTART)
            flows = self._start_flows(at_end, flowing)
            stream = at_end.enter_context(client.stream(target(service)))
            stream.wait_for(lambda answers: len(answers) >= FIRST_ANSWERS, testbed.deadlines.first_answers)
            before = self._state()
            started, since = self._mend_at_end(at_end, node), time.monotonic()
            self.proxies.kill(node)
            down = self.proxies.revive(node, before=started)
            # Its own rules never differed: those of a later Service show that kube-proxy has synced after the restart.
            (later,) = self._create(at_end, [ServiceRequest("later", CLIENT_IP)])
            sync = testbed.wait_for_sync(service, flowing, later, since=since, nodes=(node,))
            by_flow = self._end_flows(flows)
            answers = stream.stop()
            after = self._state()
            rules = self._node_rules(after, (service, flowing, later), sync) if after else None
        entries_before, entries_after = (
            self._entries(state, service, client.address) if state else () for state in (before, after)
        )
        return KubeProxyRestart(service, answers, entries_before, entries_after, rules, down, flowing, by_flow)

    def changes_while_stopped(self) -> MissedChanges:
        """Change Services while the kube-proxy of the client's node is stopped, then kill and start it."""

        @contextlib.contextmanager
        def stopped(at_end: contextlib.ExitStack, node: str) -> Iterator[None]:
            started = self._mend_at_end(at_end, node)
            self.proxies.pause(node)
            yield
            self.proxies.kill(node)
            self.proxies.revive(node, before=started)

        return self._changes_during(Outage.STOPPED, stopped)

    def changes_while_failing(self) -> MissedChanges:
        """Change Services while the syncs of the client's node fail, then let them succeed.

        They succeed again when another node has synced twice since the changes: a sync is put off by the minSyncPeriod,
        and by then this node has tried. An outage in which none surely failed shows nothing, and is made again. Raises
        NodeError when none failed in ``TRIES`` outages.
        """
        node = self.testbed.client.node
        failures: list[bool] = []

        @contextlib.contextmanager
        def failing(at_end: contextlib.ExitStack, node: str) -> Iterator[None]:
            before = self.proxies.syncs(node)
            files = self.proxies.fail_syncs(node)
            try:
                yield
                if self.nodes.undisturbed:
                    since = time.monotonic()
                    (second,) = self._create(at_end, [ServiceRequest("second", CLIENT_IP)])
                    self.testbed.wait_for_sync(second, since=since, nodes=(self.nodes.undisturbed,))
            finally:
                self.proxies.end_failures(node, files)
            failures.append(self.proxies.syncs(node).one_failed_since(before, self.testbed.nodes.family))

        for _ in range(TRIES):
            changes = self._changes_during(Outage.FAILING, failing)
            if failures[-1]:
                return changes
        raise NodeError(
            f"{node}: no sync of kube-proxy failed although it could start no program, in any of {TRIES} outages",
            next_step="see its log: it may write its rules without iptables-restore and nft",
        )

    def _changes_during(
        self, kind: Outage, outage: Callable[[contextlib.ExitStack, str], AbstractContextManager[None]]
    ) -> MissedChanges:
        """Change Services during an outage of the kube-proxy on the client's node."""
        testbed, services, client = self.testbed, self.testbed.services, self.testbed.client
        node = client.node
        with contextlib.ExitStack() as at_end:
            on, off, patched, deleted, emptied = self._services_of(at_end, kind)
            flows = self._start_flows(at_end, emptied) if kind is Outage.FAILING else None
            first = client.request(target(patched))
            before = self._with_absent_client(off, patched)
            with outage(at_end, node):
                on, off = services.switch(on, CLIENT_IP), services.switch(off, NO_AFFINITY)
                (patched,) = services.patch_timeouts([patched], PATCHED_TIMEOUT)
                services.delete(deleted)
                services.change(emptied, {"selector": {**dict.fromkeys(self.datagrams.selector), **NOBODY}})
                emptied = services.wait_for_endpoints({emptied.name: ()})[emptied.name]
                (new,) = self._create(at_end, [ServiceRequest("new", CLIENT_IP)])
                if self.nodes.undisturbed:
                    nodes = (self.nodes.undisturbed,)
                    testbed.wait_for_sync(on, off, patched, new, since=time.monotonic(), nodes=nodes)
            since = time.monotonic()
            (later,) = self._create(at_end, [ServiceRequest("later", CLIENT_IP)])
            changed = (on, off, patched, new, emptied, later)
            sync = testbed.wait_for_sync(*changed, since=since, nodes=(node,))
            by_flow: tuple[Answers, ...] = ()
            if flows is not None:
                # Another sync, because kube-proxy ends flows of datagrams after it has written rules.
                (latest,) = self._create(at_end, [ServiceRequest("latest", CLIENT_IP)])
                testbed.wait_for_sync(latest, since=time.monotonic(), nodes=(node,))
                by_flow = self._end_flows(flows)
            state = self._state()
            answers = client.request(*map(target, (on, patched, new)), count=AFTERWARDS)
            gone = client.with_short_timeouts.request(target(deleted), name="answers of a deleted Service")
            changes = MissedChanges(
                *(on, off, patched, new, deleted, emptied), *(first, answers, gone, by_flow), sync.waited
            )
            if state is None:
                return changes
            absent = ABSENT_CLIENTS[patched.family]
            return replace(
                changes,
                rules=self._node_rules(state, changed, sync),
                before=before,
                after=self._entries(state, patched, absent),
                off_entries=self._entries(state, off, absent),
                deleted_objects=testbed.backend.objects_of(state, deleted),
            )

    def _with_absent_client(self, *services: ServiceState) -> tuple[AffinityEntry, ...]:
        """Give an absent client an entry for each Service on the client's node, and return that for the last.

        None where rules cannot be read.
        """
        if not self.testbed.reads_rules:
            return ()
        node, backend = self.testbed.client.node, self.testbed.backend
        absent = ABSENT_CLIENTS[services[0].family]
        for service in services:
            store = next(iter(backend.affinity_stores(service)))
            self.testbed.nodes.run(node, backend.pin_argv(service, absent, store)).check()
        return self._entries(self.testbed.nodes.read_one(node), services[-1], absent)

    def _state(self) -> NodeSnapshot | None:
        """Return the client's node as read now; None where rules cannot be read."""
        return self.testbed.nodes.read_one(self.testbed.client.node) if self.testbed.reads_rules else None

    def _datagram_service(self, purpose: str, flows: int) -> ServiceRequest:
        """Return a Service with UDP ports over the endpoints that answer datagrams."""
        ports = udp_ports(flows, self.datagrams.port)
        return ServiceRequest(purpose, CLIENT_IP, spec={"selector": dict(self.datagrams.selector), "ports": ports})

    def _start_flows(self, at_end: contextlib.ExitStack, service: ServiceState) -> Flows:
        """Start a flow to each port of a Service, and wait until all have an answer; they end with the others."""
        flows = at_end.enter_context(self.testbed.client.flows(targets(service)))
        flows.wait_for(
            lambda by_flow: all(answers.by_endpoint for answers in by_flow.values()),
            self.testbed.deadlines.first_answers,
        )
        return flows

    def _end_flows(self, flows: Flows) -> tuple[Answers, ...]:
        """Wait until each flow has sent a datagram from now on, end them, and return the answers of each."""
        now = self.testbed.client.uptime()
        flows.wait_for(
            lambda by_flow: all(len(sent_since(answers, now)) for answers in by_flow.values()),
            self.testbed.deadlines.answers_after_change,
        )
        return tuple(flows.stop().values())

    def killed_during_sync(self) -> NodeRules:
        """Create many Services, kill a node's kube-proxy while it writes their rules, and start it again."""
        node = self.nodes.killed
        created: list[ServiceState] = []
        with contextlib.ExitStack() as at_end:
            started = self._mend_at_end(at_end, node)
            before = self.proxies.syncs(node)
            for _ in range(KILLS):
                # Stopped until all exist, kube-proxy writes their rules in one sync, which takes long enough.
                self.proxies.pause(node)
                created += self._create(at_end, [ServiceRequest("written", CLIENT_IP) for _ in range(MANY)])
                if self.proxies.kill_during_sync(node):
                    break
            else:
                ended = self.proxies.syncs(node).count() - before.count()
                raise NodeError(
                    f"{node}: kube-proxy was not caught writing rules of {len(created)} Services in {KILLS} attempts,"
                    f" while {ended} syncs ended",
                    next_step="the node is too busy to be polled that often: run again with less load on it",
                )
            since = time.monotonic()
            self.proxies.revive(node, before=started)
            sync = self.testbed.wait_for_sync(*created, since=since, nodes=(node,))
            return self._node_rules(self.testbed.nodes.read_one(node), created, sync)

    def blocking_rule(self) -> BlockingRule:
        """Insert a rule before those of a Service, create another Service, then change the first."""
        testbed, nodes = self.testbed, self.testbed.nodes
        node, mode = testbed.client.node, testbed.backend.mode
        failed = self.proxies.failed_syncs(node)
        with contextlib.ExitStack() as at_end:
            (service,) = self._services_of(at_end, Outage.BLOCKED)
            state = nodes.read_one(node)
            # Also if the claim is violated: kube-proxy may keep the rule, and the chain because of it.
            at_end.callback(nodes.run, node, rule_tampering.unblock(state, service, mode))
            nodes.run(node, rule_tampering.block(state, service, mode)).check()
            if not testbed.compare(nodes.read_one(node), service):
                raise NodeError(
                    f"{node}: a rule was inserted before those of {service.key}, but the node's rules do not differ",
                    next_step="check that kube-proxy writes its rules with the program that inserted the rule",
                )

            since = time.monotonic()
            (other,) = self._create(at_end, [ServiceRequest("other", CLIENT_IP)])
            sync = testbed.wait_for_sync(other, since=since, nodes=(node,))
            other_rules = self._node_rules(nodes.read_one(node), (other,), sync)
            since = time.monotonic()
            (patched,) = testbed.services.patch_timeouts([service], PATCHED_TIMEOUT)
            sync = testbed.wait_for_sync(patched, since=since, nodes=(node,))
            blocked_rules = self._node_rules(nodes.read_one(node), (patched,), sync)
            return BlockingRule(other_rules, blocked_rules, (failed, self.proxies.failed_syncs(node)))

    def _mend_at_end(self, at_end: contextlib.ExitStack, node: str) -> float:
        """Return when a node's kube-proxy was started; at the end it runs again, even if it was stopped or killed."""
        started = self.proxies.started(node)
        at_end.callback(self.proxies.mend, node, before=started)
        return started

    def _create(self, at_end: contextlib.ExitStack, requests: Sequence[ServiceRequest]) -> list[ServiceState]:
        """Create Services that are deleted at the end."""
        created = self.testbed.services.create_all(requests)
        for service in created:
            at_end.callback(self.testbed.services.delete, service)
        return created

    def _requests(self, outage: Outage) -> list[ServiceRequest]:
        """Return the Services that must be there when an outage begins."""
        if outage is Outage.RESTART:
            return [ServiceRequest("restart", CLIENT_IP), self._datagram_service("flowing", FLOWS)]
        if outage is Outage.BLOCKED:
            return [ServiceRequest("blocked", CLIENT_IP)]
        sticky = [ServiceRequest(purpose, CLIENT_IP, DEFAULT_TIMEOUT) for purpose in ("off", "patched", "deleted")]
        return [ServiceRequest("on", NO_AFFINITY), *sticky, self._datagram_service("emptied", FLOWS)]

    def _services_of(self, at_end: contextlib.ExitStack, outage: Outage) -> list[ServiceState]:
        """Return the Services of an outage, which the client's node has; they are deleted at the end."""
        if outage not in self.prepared:
            self.prepare(outage)
        services = self.prepared.pop(outage)
        for service in services:
            at_end.callback(self.testbed.services.delete, service)
        return services

    def _node_rules(self, state: NodeSnapshot, services: Iterable[ServiceState], sync: SyncResult) -> NodeRules:
        differences = tuple((service, self.testbed.compare(state, service)) for service in services)
        return NodeRules(state.node, differences, sync.waited)

    def _entries(self, state: NodeSnapshot, service: ServiceState, client: str) -> tuple[AffinityEntry, ...]:
        return of_client(self.testbed.backend.affinity_entries(state, service), client)
