"""Make a walk on a cluster: after each batch of steps all nodes must have the expected rules and affinity entries."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.claims.known_behaviour import NODE_ADDRESSES_LOST
from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.labels import unique_name
from session_affinity.dataplane.model import SERVICE_NAME_LABEL, shared_addresses
from session_affinity.dataplane.nftables.node_ports import has_no_address, says_no_address
from session_affinity.dataplane.proxy_config import ZONE_LABEL
from session_affinity.errors import NodeError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NODES
from session_affinity.nodes.by_node import require_nodes
from session_affinity.scenarios import comparison
from session_affinity.scenarios.walks.bindings import Binding, Bindings, stores_on, with_stores
from session_affinity.scenarios.walks.commands import commands, on_node
from session_affinity.scenarios.walks.objects import PREFIX, Fault, Objects, Verb, in_family, placed, requests
from session_affinity.scenarios.walks.result import WalkResult
from session_affinity.scenarios.walks.slice_cache import RELABELLED, SliceCaches
from session_affinity.scenarios.walks.steps import Bind, Restart, Wait
from session_affinity.scenarios.walks.walk import title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.cluster_objects.handmade import HandMadeServices
    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.kube.api import Api, Object
    from session_affinity.nodes.kube_proxy import KubeProxies
    from session_affinity.scenarios.comparison import Comparison
    from session_affinity.scenarios.walks.bindings import WrongEntry
    from session_affinity.scenarios.walks.objects import Request
    from session_affinity.scenarios.walks.walk import Move
    from session_affinity.testbed.testbed import NodeTestbed

COMPONENT: Final = "walk"
"""The label of a walk's objects: other hand-made Services are none of its business."""
CLIENTS: Final = tuple(f"203.0.113.{number}" for number in range(201, 205))
"""The clients that are bound: addresses for documentation (RFC 5737), from which nothing comes."""
UNDEFINED: Final = "slices disagree about an endpoint"
SHARED: Final = "Services share an address and port"
"""What kube-proxy leaves undefined, see docs/findings.md."""
_REFUSALS: Final = range(400, 500)


@dataclass(frozen=True)
class Ground:
    """The cluster that walks are made on; ``proxies`` only where a walk may disturb them.

    ``testbed`` knows the zones and addresses of the nodes (``ProxyConfigs.with_nodes``). ``services`` has the
    component ``COMPONENT``, so that nothing but the walk changes what it sees. ``others``
    are all other Services of a cluster where nothing else changes: there whatever no Service calls for is a leftover.
    """

    api: Api
    testbed: NodeTestbed
    services: HandMadeServices
    proxies: KubeProxies
    others: tuple[ServiceState, ...] | None = None

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that can be read."""
        return self.testbed.nodes.names


def run_walk(
    ground: Ground,
    walk: Sequence[Move],
    what: str,
    *,
    on_step: Callable[[int, str], None] = lambda _, __: None,
) -> WalkResult:
    """Make a walk, delete everything, and return what was seen; ends at the first wait after which a node is wrong.

    ``what`` says in words how the walk was made. ``on_step`` is called with the number of each step and its title.
    Whatever happens, faults are ended, zones are as before, and the walk's objects are deleted. Raises SuiteError.
    """
    began = time.time()
    with recorder.suppressed():
        run = _Run(ground, what)
        try:
            for number, move in enumerate(walk, 1):
                on_step(number, title(move))
                run.moves = number
                if not run.make(move):
                    break
            else:
                run.end()
        finally:
            run.clean_up()
        result = replace(run.result(), lost_addresses=run.lost_addresses())
    recorder.record(recorder.Action(result.summary), since=began)
    return result


class _Run:
    """One walk being made."""

    def __init__(self, ground: Ground, what: str) -> None:
        self._ground = ground
        self._prefix = f"{unique_name(COMPONENT)}-"
        self._files: dict[str, int] = {}
        self._zones = {node: ground.testbed.proxy_of(node).zones.get(node, "") for node in ground.nodes}
        self._objects = Objects(ground.nodes)
        self._stored: dict[tuple[str, str], Object] = {}
        self._caches = SliceCaches(ground.nodes)
        self._bindings = Bindings()
        self._former: dict[ServiceState, None] = {}
        self._known: Counter[str] = Counter()
        self._script: list[str] = []
        self._refused: list[str] = []
        self._began = self._changed = time.monotonic()
        self._is_settled = True
        self._needs_patience = False
        self._may_lack_addresses: set[str] = set()
        self._result = WalkResult(what, 0, "", ground.nodes)
        self.moves = 0

    def make(self, move: Move) -> bool:
        """Make a step; return whether every node is right as far as is known."""
        step = move.step
        if isinstance(step, Wait):
            return self._settle()
        if isinstance(step, Bind):
            # The store must be there.
            return self._settle() and self._bind(move, step)
        self._begin(move)
        if isinstance(step, Restart):
            self._restart(self._objects.node(step.node))
        for before, after in move.requests():
            # First: what is begun is ended, whatever happens.
            self._objects = after
            for request in requests(before, after):
                self._send(placed(request, self._prefix, self._ground.testbed.nodes.family))
            self._note_states()
        return True

    def end(self) -> None:
        """Delete everything, and look for what is left on nodes."""
        self._delete_all()
        self._settle()

    def clean_up(self) -> None:
        """End faults and delete everything; what cannot be reached is left to the next run."""
        with ExitStack() as at_end:  # each of them, also when another fails; in reverse order
            at_end.callback(self._delete_all)
            for node, zone in self._zones.items():
                if self._objects.zones.get(node, zone) != zone:
                    at_end.callback(self._label, node, zone)
            for node, fault in self._objects.faults.items():
                with suppress(NodeError):
                    self._end_fault(node, fault)

    def result(self) -> WalkResult:
        """Return what was seen."""
        return replace(
            self._result,
            moves=self.moves,
            script="\n".join(self._script),
            known=dict(self._known),
            refused=tuple(self._refused),
            seconds=time.monotonic() - self._began,
        )

    def lost_addresses(self) -> tuple[str, ...]:
        """Return the nodes that answer no node port because their syncs failed; raises NodeError."""
        nodes = sorted(self._may_lack_addresses)
        read = self._ground.testbed.nodes.read(nodes) if nodes else {}
        # A node whose fault was ended after the last step may have no sync yet.
        return tuple(node for node in nodes if node in self._objects.faults or has_no_address(read[node]))

    def _begin(self, move: Move) -> None:
        self._result = replace(self._result, steps=self._result.steps + 1)
        self._script.append(f"# {self._result.steps}. {title(move)}")
        self._is_settled = False

    def _send(self, request: Request) -> None:
        """Send one request, and note what is stored and what kube-proxy learns."""
        self._script += commands(request)
        self._changed = time.monotonic()
        if request.node:
            self._at_node(request)
            return
        services = self._ground.services
        manifest = request.manifest
        key = manifest["kind"], manifest["metadata"]["name"]
        try:
            if request.verb is Verb.DELETE:
                services.delete([manifest])
                self._stored.pop(key, None)
            else:
                send = services.create if request.verb is Verb.CREATE else services.change
                (self._stored[key],) = send([manifest])
        except ApiError as error:
            if error.status not in _REFUSALS:
                raise
            self._refused.append(error.what)
            return
        if manifest["kind"] == "EndpointSlice":
            if request.verb is Verb.DELETE:
                self._caches.delete(key[1])
            else:
                self._caches.store(self._stored[key])

    def _at_node(self, request: Request) -> None:
        node, proxies = request.node, self._ground.proxies
        if request.verb is Verb.LABEL_ZONE:
            self._label(node, request.value)
            self._needs_patience = True
        elif request.verb is Verb.END_FAULT:
            self._end_fault(node, Fault(request.value))
        elif request.value == Fault.PAUSED:
            proxies.pause(node)
        else:
            self._files[node] = proxies.fail_syncs(node)
            if self._ground.testbed.has_behaviour(NODE_ADDRESSES_LOST, node):
                self._may_lack_addresses.add(node)

    def _end_fault(self, node: str, fault: Fault) -> None:
        proxies = self._ground.proxies
        if fault is Fault.PAUSED:
            proxies.resume(node)
        elif node in self._files:
            proxies.end_failures(node, self._files[node])

    def _label(self, node: str, zone: str) -> None:
        change = {"metadata": {"labels": {ZONE_LABEL: zone or None}}}
        self._ground.api.patch(NODES, node, "", change)

    def _restart(self, node: str) -> None:
        self._ground.proxies.restart(node)
        self._caches.restart(node)
        self._may_lack_addresses.discard(node)
        self._changed = time.monotonic()

    def _bind(self, move: Move, step: Bind) -> bool:
        """Bind a client where the node has a store for it; the step has no effect elsewhere."""
        node, name = self._objects.node(step.node), self._prefix + step.service.removeprefix(PREFIX)
        testbed, client = self._testbed(), self._client(step.client)
        states = self._states(name, node)
        if not states:
            return True
        backend, state = testbed.backend, states[0]
        certain, possible = stores_on(node, states, backend, testbed.proxy_of(node))
        names = backend.affinity_stores(state)
        if not certain or certain != possible:
            return True
        store = sorted(certain)[step.store % len(certain)]
        argv = backend.pin_argv(with_stores(backend, state, certain), client, store)
        self._begin(move)
        self._is_settled = True
        self._script.append(on_node(node, argv))
        testbed.nodes.run(node, argv).check()
        self._bindings.bind(Binding(node, name, client, store, names[store].at), certain)
        return True

    def _client(self, number: int) -> str:
        return in_family(CLIENTS[number % len(CLIENTS)], self._ground.testbed.nodes.family)

    def _note_states(self) -> None:
        """Note which stores and rules the present state of each Service calls for."""
        testbed = self._testbed()
        for node, name in self._bindings.places():
            states = self._states(name, node)
            certain = stores_on(node, states, testbed.backend, testbed.proxy_of(node))[0] if states else ()
            self._bindings.keep(node, name, certain)
        for _, name in self._stored:
            if ("Service", name) in self._stored:
                self._former |= dict.fromkeys(self._states(name, self._ground.nodes[0]))

    def _states(self, name: str, node: str) -> list[ServiceState]:
        """Return the states that a node may rightly have for a Service now; none when there is no such Service."""
        service = self._stored.get(("Service", name))
        if service is None:
            return []
        current = [stored for (kind, _), stored in self._stored.items() if kind == "EndpointSlice"]
        stale = [kept for kept in self._stale(node) if kept["metadata"]["labels"][SERVICE_NAME_LABEL] == name]
        states: dict[ServiceState, None] = {}
        family, release = self._ground.testbed.nodes.family, self._ground.testbed.proxy_of(node).expected_release
        for slices in (current, [*current, *stale])[: 2 if stale else 1]:
            (state,) = handmade.states([service], slices, family=family, release=release)
            states |= dict.fromkeys(state.alternatives(node))
        return list(states)

    def _stale(self, node: str) -> tuple[Object, ...]:
        """Return the slices that a node's kube-proxy is known to keep although they belong elsewhere by now."""
        return self._caches.stale(node) if self._ground.testbed.has_behaviour(RELABELLED, node) else ()

    def _testbed(self, nodes: Sequence[str] | None = None) -> NodeTestbed:
        """Return the testbed with the zones of now, to compare some of the nodes."""
        testbed = self._ground.testbed
        zones = {**self._zones, **self._objects.zones}
        configs = testbed.proxy_configs.with_zones(zones)
        return replace(
            testbed, proxy_configs=configs, nodes=testbed.nodes if nodes is None else testbed.nodes.only(nodes)
        )

    def _settle(self) -> bool:
        """Wait until all nodes without a fault have synced; return whether they are right."""
        if self._is_settled:
            return True
        nodes = [node for node in self._ground.nodes if node not in self._objects.faults]
        testbed = self._testbed(nodes)
        with ThreadPoolExecutor(max(len(nodes), 1), thread_name_prefix="failed syncs") as pool:
            failed = {node: pool.submit(self._failed_syncs, node) for node in nodes}
            seen = comparison.compare(
                testbed,
                self._ground.services,
                since=self._changed,
                former=self._former,
                others=self._ground.others,
                patience=testbed.sync_seconds if self._needs_patience else 0.0,
                stale_slices={node: self._stale(node) for node in nodes},
            )
        require_nodes(seen.missing, seen.allowed_missing)
        self._is_settled = True
        self._needs_patience = False
        wrong_on = {node: self._unknown(node, found) for node, found in seen.differences.items()}
        self._note_known(seen)
        differences = {
            node: tuple(difference for found in by_service.values() for difference in found)
            for node, by_service in wrong_on.items()
            if by_service
        }
        wrong = dict.fromkeys(service for of_node in wrong_on.values() for service in of_node)
        synced = [node for node in nodes if node not in seen.late and node not in seen.missing]
        kept, entries = self._entries(testbed, synced)
        names = dict.fromkeys((*(service.name for service in wrong), *(entry.service for entry in entries)))
        before = self._result
        self._result = replace(
            before,
            waits=before.waits + 1,
            compared=before.compared + len(seen.services) * len(seen.programmed),
            kept=before.kept + kept,
            slowest=max((before.slowest, *seen.programmed.values())),
            differences=differences,
            service=next(iter(wrong), None),
            wrong_services=tuple(PREFIX + name.removeprefix(self._prefix) for name in names),
            leftovers={node: found for node, found in seen.leftovers.items() if found},
            entries=entries,
            failed_syncs={node: self._failed_syncs(node) - failed[node].result() for node in seen.late},
        )
        return self._result.is_right

    def _unknown(
        self, node: str, differences: Mapping[ServiceState, tuple[Difference, ...]]
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Return the differences of a node without the known one of a kube-proxy whose syncs failed; count that."""
        left = {
            service: tuple(
                difference
                for difference in found
                if not (node in self._may_lack_addresses and says_no_address(difference))
            )
            for service, found in differences.items()
        }
        known = sum(map(len, differences.values())) - sum(map(len, left.values()))
        self._known[f"kube-proxy {NODE_ADDRESSES_LOST.what}"] += known
        return {service: found for service, found in left.items() if found}

    def _note_known(self, seen: Comparison) -> None:
        self._known[f"kube-proxy {RELABELLED.what}"] += sum(map(len, seen.stale.values()))
        self._known[UNDEFINED] += sum(bool(service.undefined_endpoints) for service in seen.services)
        self._known[SHARED] += len(shared_addresses(seen.services))
        self._known = +self._known

    def _entries(self, testbed: NodeTestbed, nodes: Sequence[str]) -> tuple[int, tuple[WrongEntry, ...]]:
        """Return how many clients are bound as they must be, and the entries that are wrong."""
        backend: Backend = testbed.backend
        places = [(node, name) for node, name in self._bindings.places() if node in nodes]
        if not places:
            return 0, ()
        snapshots = testbed.nodes.read({node for node, _ in places})
        wrong: list[WrongEntry] = []
        for node, name in places:
            states = self._states(name, node)
            proxy = testbed.proxy_of(node)
            _, possible = stores_on(node, states, backend, proxy) if states else ((), ())
            self._bindings.settle(node, name, {*possible, *snapshots[node].lists})
            entries = [entry for state in states for entry in backend.affinity_entries(snapshots[node], state)]
            wrong += self._bindings.wrong(node, name, entries)
        certain = sum(len(self._bindings.certain(node)) for node in nodes)
        return certain - len(wrong), tuple(wrong)

    def _failed_syncs(self, node: str) -> int:
        """Return the failed syncs of a node's kube-proxy; 0 where it does not tell."""
        try:
            return sum(self._ground.proxies.failed_syncs(node).values())
        except NodeError:
            return 0

    def _delete_all(self) -> None:
        """Delete the walk's objects."""
        self._ground.services.delete(self._stored.values())
        self._stored.clear()
        self._changed = time.monotonic()
        self._is_settled = False
        for node, name in self._bindings.places():
            self._bindings.keep(node, name, ())
