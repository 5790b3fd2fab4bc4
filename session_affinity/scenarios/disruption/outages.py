"""Observations while a kube-proxy is restarted, stopped or killed, and while a foreign rule blocks a Service.

Each observation disturbs one node and removes or mends afterwards what it changed.
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
    from session_affinity.scenarios.disruption.allocation import DisruptionNodes
    from session_affinity.testbed.testbed import SyncResult, Testbed
    from session_affinity.traffic.answers import Answers

ABSENT_CLIENTS: Final = {"IPv4": "198.51.100.7", "IPv6": "2001:db8::7"}
"""Addresses for documentation (RFC 5737, RFC 3849) that stand for a client without a pod."""
FIRST_ANSWERS: Final = 10
"""Answers of a stream before kube-proxy is killed."""
MANY: Final = 20
"""Services of which kube-proxy writes the rules when it is killed."""
TRIES: Final = 5
"""How many syncs a kube-proxy is killed in at most, until it is caught while it writes."""


@dataclass(frozen=True)
class NodeRules:
    """A node's rules ``waited`` seconds after a change: the differences from the expected ones, by Service."""

    node: str
    differences: tuple[tuple[ServiceState, tuple[Difference, ...]], ...]
    waited: float


@dataclass(frozen=True)
class Restart:
    """A client's requests during a restart of its node's kube-proxy, its affinity entries, and the node's rules.

    ``down`` is how many seconds kube-proxy did not run.
    """

    service: ServiceState
    answers: Answers
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    rules: NodeRules
    down: float


@dataclass(frozen=True)
class ChangesWhileStopped:
    """A node after changes that were made while its kube-proxy was stopped.

    ``patched`` is the Service whose timeout was patched, with a client's entries ``before`` and ``after``. ``off`` was
    switched to None; ``off_entries`` are the client's entries left there. ``deleted_objects`` are the names of chains,
    lists or sets that are left of the Service ``deleted``.
    """

    rules: NodeRules
    patched: ServiceState
    before: tuple[AffinityEntry, ...]
    after: tuple[AffinityEntry, ...]
    off: ServiceState
    off_entries: tuple[AffinityEntry, ...]
    deleted: ServiceState
    deleted_objects: tuple[str, ...]


@dataclass(frozen=True)
class BlockingRule:
    """A node with a foreign rule that blocks one Service's rules.

    ``other`` are its rules for a Service created then, ``blocked`` those for the blocked Service after that Service was
    changed. ``failed_syncs`` is kube-proxy's counter before and after.
    """

    other: NodeRules
    blocked: NodeRules
    failed_syncs: tuple[int, int]


@dataclass(frozen=True)
class Outages:
    """Makes the observations; ``nodes`` are those other than the client's.

    Each observation removes and mends at its end what it created or disturbed, whether or not it succeeds. All of them
    raise SuiteError.
    """

    testbed: Testbed
    proxies: KubeProxies
    nodes: DisruptionNodes

    def restart(self) -> Restart:
        """Kill the kube-proxy of the client's node and start it again while the client sends requests."""
        testbed, client = self.testbed, self.testbed.client
        node, nodes = client.node, self.testbed.nodes
        with contextlib.ExitStack() as at_end:
            (service,) = self._create_synced(at_end, [ServiceRequest("restart", CLIENT_IP)], node)
            stream = at_end.enter_context(client.stream(target(service)))
            stream.wait_for(lambda answers: len(answers) >= FIRST_ANSWERS, testbed.deadlines.first_answers)
            before = nodes.read_one(node)
            started, since = self._mend_at_end(at_end, node), time.monotonic()
            self.proxies.kill(node)
            down = self.proxies.revive(node, before=started)
            # Its own rules never differed: those of a later Service show that kube-proxy has synced after the restart.
            (later,) = self._create(at_end, [ServiceRequest("later", CLIENT_IP)])
            sync = testbed.wait_for_sync(service, later, since=since, nodes=(node,))
            answers = stream.stop()
            after = nodes.read_one(node)
            rules = self._node_rules(after, (service, later), sync)
        entries_before, entries_after = (self._entries(state, service, client.address) for state in (before, after))
        return Restart(service, answers, entries_before, entries_after, rules, down)

    def changes_while_stopped(self) -> ChangesWhileStopped:
        """Change Services while a node's kube-proxy is stopped, then kill and start it."""
        testbed, nodes, services = self.testbed, self.testbed.nodes, self.testbed.services
        node, backend = self.nodes.changes, self.testbed.backend
        sticky = [ServiceRequest(purpose, CLIENT_IP, DEFAULT_TIMEOUT) for purpose in ("off", "patched", "deleted")]
        with contextlib.ExitStack() as at_end:
            on, off, patched, deleted = self._create_synced(at_end, (ServiceRequest("on", NO_AFFINITY), *sticky), node)
            client = ABSENT_CLIENTS[patched.family]
            for service in (off, patched):
                store = next(iter(backend.affinity_stores(service)))
                nodes.run(node, backend.pin_argv(service, client, store)).check()
            before = self._entries(nodes.read_one(node), patched, client)

            started = self._mend_at_end(at_end, node)
            self.proxies.pause(node)
            on, off = services.switch(on, CLIENT_IP), services.switch(off, NO_AFFINITY)
            (patched,) = services.patch_timeouts([patched], 30)
            services.delete(deleted)
            (new,) = self._create(at_end, [ServiceRequest("new", CLIENT_IP)])
            since = time.monotonic()
            self.proxies.kill(node)
            self.proxies.revive(node, before=started)

            sync = testbed.wait_for_sync(on, off, patched, new, since=since, nodes=(node,))
            state = nodes.read_one(node)
            rules = self._node_rules(state, (on, off, patched, new), sync)
        return ChangesWhileStopped(
            rules,
            patched,
            before,
            self._entries(state, patched, client),
            off,
            self._entries(state, off, client),
            deleted,
            backend.objects_of(state, deleted),
        )

    def killed_during_sync(self) -> NodeRules:
        """Create many Services, kill a node's kube-proxy while it writes their rules, and start it again."""
        node = self.nodes.killed
        created: list[ServiceState] = []
        with contextlib.ExitStack() as at_end:
            started = self._mend_at_end(at_end, node)
            for _ in range(TRIES):
                # Stopped until all exist, kube-proxy writes their rules in one sync, which takes long enough.
                self.proxies.pause(node)
                created += self._create(at_end, [ServiceRequest("written", CLIENT_IP) for _ in range(MANY)])
                if self.proxies.kill_during_sync(node):
                    break
            else:
                raise NodeError(
                    f"{node}: kube-proxy was not caught writing rules in any of {TRIES} syncs",
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
            (service,) = self._create_synced(at_end, [ServiceRequest("blocked", CLIENT_IP)], node)
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
            (patched,) = testbed.services.patch_timeouts([service], 30)
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

    def _create_synced(
        self, at_end: contextlib.ExitStack, requests: Sequence[ServiceRequest], node: str
    ) -> list[ServiceState]:
        """Create Services that are deleted at the end, and wait until a node has them; raises NotReadyError."""
        since = time.monotonic()
        created = self._create(at_end, requests)
        self.testbed.wait_for_sync(*created, since=since, nodes=(node,)).require(node)
        return created

    def _node_rules(self, state: NodeSnapshot, services: Iterable[ServiceState], sync: SyncResult) -> NodeRules:
        differences = tuple((service, self.testbed.compare(state, service)) for service in services)
        return NodeRules(state.node, differences, sync.waited)

    def _entries(self, state: NodeSnapshot, service: ServiceState, client: str) -> tuple[AffinityEntry, ...]:
        return of_client(self.testbed.backend.affinity_entries(state, service), client)
