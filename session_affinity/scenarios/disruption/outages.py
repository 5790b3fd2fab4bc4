"""Observations while a kube-proxy is restarted, stopped or killed, and while a foreign rule blocks a Service.

Each observation disturbs the client's node, and removes or mends afterwards what it changed.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from session_affinity.claims.known_behaviour import NODE_ADDRESSES_LOST
from session_affinity.cluster_objects.services import NO_AFFINITY, ServiceRequest, tcp_ports
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.dataplane.nftables.node_ports import has_no_address
from session_affinity.errors import NodeError
from session_affinity.scenarios.disruption import rule_tampering
from session_affinity.scenarios.disruption.outage_services import Outage, prepare
from session_affinity.traffic.answers import target, targets
from session_affinity.traffic.stream import since as sent_since

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

    from session_affinity.cluster_objects.datagrams import DatagramEndpoints
    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.kube_proxy import FailedSyncs, KubeProxies
    from session_affinity.scenarios.disruption.outage_services import OutageServices
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.flows import Flows

ABSENT_CLIENTS: Final = {"IPv4": "198.51.100.7", "IPv6": "2001:db8::7"}
"""Addresses for documentation (RFC 5737, RFC 3849) that stand for a client without a pod."""
FIRST_ANSWERS: Final = 10
"""Answers of a stream before kube-proxy is killed."""
AFTERWARDS: Final = 10
"""Requests to each Service after the outage."""
NOBODY: Final = {"app": "nobody"}
"""A selector that selects no pod."""
PATCHED_TIMEOUT: Final = 3600
"""Seconds, another timeout than the default and longer than any run: a client is bound until it is asked for."""
WRITTEN: Final = 2
"""Services of which kube-proxy writes the rules when it is killed."""
WRITTEN_PORTS: Final = range(20001, 20031)
"""Their ports: each has chains and rules of its own, so that a sync takes long, and they are created quickly."""
TRIES: Final = 5
"""How many outages are made at most, until a sync fails."""
KILLS: Final = 10
"""In how many syncs a kube-proxy is to be killed at most, until it is caught while it writes.

On a machine that had half its usual speed, five were not enough once in some 300 runs.
"""


@dataclass(frozen=True)
class NodeRules:
    """A node's rules ``waited`` seconds after a change: the differences from the expected ones, by Service."""

    node: str
    differences: tuple[tuple[ServiceState, tuple[Difference, ...]], ...]
    waited: float


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
class KubeProxyRestart:
    """A client's requests and flows of datagrams while its node's kube-proxy is stopped, killed and started again.

    ``rules`` are the node's afterwards, and ``before`` and ``after`` the client's affinity entries; None and none where
    rules cannot be read. ``flows`` has the answers of each flow, to the Service ``flowing``. ``down`` is how many
    seconds kube-proxy did not run. ``changes`` are those of other Services meanwhile.
    """

    service: ServiceState
    answers: Answers
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    rules: NodeRules | None
    down: float
    flowing: ServiceState
    flows: tuple[Answers, ...]
    changes: MissedChanges


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
class _Changed:
    """The Services of ``MissedChanges`` after their changes, with what was seen of them before."""

    on: ServiceState
    off: ServiceState
    patched: ServiceState
    new: ServiceState
    deleted: ServiceState
    emptied: ServiceState
    bound: _Bound

    @property
    def left(self) -> tuple[ServiceState, ...]:
        """All but the deleted one."""
        return self.on, self.off, self.patched, self.new, self.emptied


@dataclass(frozen=True)
class _Bound:
    """The answers of the client's requests to a Service, and an absent client's affinity entries for it."""

    answers: Answers
    entries: tuple[AffinityEntry, ...]


@dataclass(frozen=True)
class Outages:
    """Makes the observations on the node of the testbed's client; ``prepared`` are Services for the next ones.

    ``other_node`` is another node, which shows when nodes have followed a change; None when there is none. Each
    observation removes and mends at its end what it created or disturbed, whether or not it succeeds. All of them raise
    SuiteError.
    """

    testbed: Testbed
    proxies: KubeProxies
    other_node: str | None
    datagrams: DatagramEndpoints
    prepared: MutableMapping[Outage, OutageServices] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The node that is disturbed."""
        return self.testbed.client.node

    def restart(self) -> KubeProxyRestart:
        """Stop the node's kube-proxy, change Services, kill it and start it again.

        Meanwhile the client sends requests and datagrams to Services that do not change.
        """
        testbed, client, node = self.testbed, self.testbed.client, self.node
        with contextlib.ExitStack() as at_end:
            service, flowing, *to_change = self._services_of(at_end, Outage.RESTART)
            flows = self._start_flows(at_end, flowing)
            stream = at_end.enter_context(client.stream(target(service)))
            bound = self._bind(to_change)
            stream.wait_for(lambda answers: len(answers) >= FIRST_ANSWERS, testbed.deadlines.first_answers)
            before = self._state()
            started, began = self._mend_at_end(at_end, node), time.monotonic()
            self.proxies.pause(node)
            changed = self._change(at_end, to_change, bound)
            self.proxies.kill(node)
            self.proxies.revive(node, before=started)
            down = time.monotonic() - began
            # Rules of Services that did not change are right without a sync: a later one shows that there was one.
            later, sync = self._sync_later(at_end, service, flowing, *changed.left)
            stream.end()  # It goes on for up to a second.
            by_flow = self._end_flows(flows)
            after = self._state()
            rules = self._node_rules(after, (service, flowing, later), sync) if after else None
            changes = self._missed(changed, later, sync, after)
            answers = stream.stop()
        entries_before, entries_after = (
            self._entries(state, service, client.address) if state else () for state in (before, after)
        )
        return KubeProxyRestart(
            *(service, answers, entries_before, entries_after, rules, down, flowing, by_flow), changes
        )

    def changes_while_failing(self) -> MissedChanges:
        """Change Services while the syncs of the node fail, then let them succeed.

        An outage in which none surely failed shows nothing, and is made again. Raises NodeError when none failed in
        ``TRIES`` outages.
        """
        for _ in range(TRIES):
            with contextlib.ExitStack() as at_end:
                at_end.callback(self._mend_addresses)
                to_change = self._services_of(at_end, Outage.FAILING)
                flows = self._start_flows(at_end, to_change[-1])
                changed = self._change_while_failing(at_end, to_change)
                if changed is None:
                    continue
                later, sync = self._sync_later(at_end, *changed.left)
                # Another sync, because kube-proxy ends flows of datagrams after it has written rules.
                self._sync_later(at_end)
                return self._missed(changed, later, sync, self._state(), self._end_flows(flows))
        raise NodeError(
            f"{self.node}: no sync of kube-proxy failed although it could start no program, in any of {TRIES} outages",
            next_step="see its log: it may write its rules without iptables-restore and nft",
        )

    def _change_while_failing(self, at_end: contextlib.ExitStack, services: Sequence[ServiceState]) -> _Changed | None:
        """Change Services while the syncs of the node fail; return None when none surely failed.

        They succeed again when another node has synced twice since the changes: a sync is put off by the minSyncPeriod,
        and by then this node has tried.
        """
        testbed, node, other = self.testbed, self.node, self.other_node
        bound = self._bind(services)
        before = self.proxies.syncs(node)
        files = self.proxies.fail_syncs(node)
        try:
            changed = self._change(at_end, services, bound)
            if other:
                testbed.wait_for_sync(*changed.left, since=time.monotonic(), nodes=(other,))
                since = time.monotonic()
                (second,) = self._create(at_end, [ServiceRequest("second", CLIENT_IP)])
                testbed.wait_for_sync(second, since=since, nodes=(other,))
        finally:
            self.proxies.end_failures(node, files)
        failed = self.proxies.syncs(node).one_failed_since(before, testbed.nodes.family)
        return changed if failed else None

    def _bind(self, services: Sequence[ServiceState]) -> _Bound:
        """Bind the client, and an absent one, to an endpoint of a Service that is to be changed."""
        _, off, patched, *_ = services
        answers = self.testbed.client.request(target(patched))
        return _Bound(answers, self._with_absent_client(off, patched))

    def _change(self, at_end: contextlib.ExitStack, given: Sequence[ServiceState], bound: _Bound) -> _Changed:
        """Change Services as ``MissedChanges`` says, and create one."""
        services = self.testbed.services
        on, off, patched, deleted, emptied = given
        on, off = services.switch(on, CLIENT_IP), services.switch(off, NO_AFFINITY)
        (patched,) = services.patch_timeouts([patched], PATCHED_TIMEOUT)
        services.delete(deleted)
        services.change(emptied, {"selector": {**dict.fromkeys(self.datagrams.selector), **NOBODY}})
        emptied = services.wait_for_endpoints({emptied.name: ()})[emptied.name]
        (new,) = self._create(at_end, [ServiceRequest("new", CLIENT_IP)])
        return _Changed(on, off, patched, new, deleted, emptied, bound)

    def _sync_later(self, at_end: contextlib.ExitStack, *services: ServiceState) -> tuple[ServiceState, SyncResult]:
        """Create another Service, and wait until the node has synced it and these."""
        since = time.monotonic()
        (later,) = self._create(at_end, [ServiceRequest("later", CLIENT_IP)])
        return later, self.testbed.wait_for_sync(*services, later, since=since, nodes=(self.node,))

    def _missed(
        self,
        changed: _Changed,
        later: ServiceState,
        sync: SyncResult,
        state: NodeSnapshot | None,
        flows: tuple[Answers, ...] = (),
    ) -> MissedChanges:
        """Return the changes after the outage, by a state of the node and by the client's requests from now on."""
        client, patched, off, deleted = self.testbed.client, changed.patched, changed.off, changed.deleted
        changes = MissedChanges(
            *(changed.on, off, patched, changed.new, deleted, changed.emptied),
            first=changed.bound.answers,
            answers=client.request(*map(target, (changed.on, patched, changed.new)), count=AFTERWARDS),
            gone=client.with_short_timeouts.request(target(deleted), name="answers of a deleted Service"),
            flows=flows,
            waited=sync.waited,
        )
        if state is None:
            return changes
        absent = ABSENT_CLIENTS[patched.family]
        return replace(
            changes,
            rules=self._node_rules(state, (*changed.left, later), sync),
            before=changed.bound.entries,
            after=self._entries(state, patched, absent),
            off_entries=self._entries(state, off, absent),
            deleted_objects=self.testbed.backend.objects_of(state, deleted),
        )

    def _with_absent_client(self, *services: ServiceState) -> tuple[AffinityEntry, ...]:
        """Give an absent client an entry for each Service on the node, and return that for the last.

        None where rules cannot be read.
        """
        if not self.testbed.reads_rules:
            return ()
        node, backend = self.node, self.testbed.backend
        absent = ABSENT_CLIENTS[services[0].family]
        for service in services:
            store = next(iter(backend.affinity_stores(service)))
            self.testbed.nodes.run(node, backend.pin_argv(service, absent, store)).check()
        return self._entries(self.testbed.nodes.read_one(node), services[-1], absent)

    def _state(self) -> NodeSnapshot | None:
        """Return the node as read now; None where rules cannot be read."""
        return self.testbed.nodes.read_one(self.node) if self.testbed.reads_rules else None

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
        """Create many Services, kill the node's kube-proxy while it writes their rules, and start it again."""
        node = self.node
        created: list[ServiceState] = []
        with contextlib.ExitStack() as at_end:
            started = self._mend_at_end(at_end, node)
            before = self.proxies.syncs(node)
            for _ in range(KILLS):
                # Stopped until all exist, kube-proxy writes their rules in one sync, which takes long enough.
                self.proxies.pause(node)
                request = ServiceRequest("written", CLIENT_IP, spec={"ports": tcp_ports(WRITTEN_PORTS)})
                created += self._create(at_end, [request] * WRITTEN)
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
        node, mode = self.node, testbed.backend.mode
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

    def _mend_addresses(self) -> None:
        """Restart the node's kube-proxy if it answers no node port because its syncs failed: NODE_ADDRESSES_LOST."""
        testbed, node = self.testbed, self.node
        if not (testbed.reads_rules and testbed.has_behaviour(NODE_ADDRESSES_LOST, node)):
            return
        if has_no_address(testbed.nodes.read_one(node)):
            self.proxies.restart(node)

    def _create(self, at_end: contextlib.ExitStack, requests: Sequence[ServiceRequest]) -> list[ServiceState]:
        """Create Services that are deleted at the end."""
        created = self.testbed.services.create_all(requests)
        for service in created:
            at_end.callback(self.testbed.services.delete, service)
        return created

    def _services_of(self, at_end: contextlib.ExitStack, outage: Outage) -> list[ServiceState]:
        """Return the Services of an outage, which the node has; they are deleted at the end."""
        if outage not in self.prepared:
            self.prepared.update(prepare(self.testbed.services, self.datagrams, [outage]))
        created, since = self.prepared.pop(outage)
        for service in created:
            at_end.callback(self.testbed.services.delete, service)
        self.testbed.wait_for_sync(*created, since=since, nodes=(self.node,)).require(self.node)
        return created

    def _node_rules(self, state: NodeSnapshot, services: Iterable[ServiceState], sync: SyncResult) -> NodeRules:
        differences = tuple((service, self.testbed.compare(state, service)) for service in services)
        return NodeRules(state.node, differences, sync.waited)

    def _entries(self, state: NodeSnapshot, service: ServiceState, client: str) -> tuple[AffinityEntry, ...]:
        return of_client(self.testbed.backend.affinity_entries(state, service), client)
