"""A cluster for walks without a cluster: an API that stores objects, and kube-proxies that are simulated.

A simulated kube-proxy learns of each change as the real one does, and a relabelled EndpointSlice stays with its old
Service. Its rules are printed from the expected state of the Services that it has written.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane.model import HEADLESS_LABEL, SERVICE_NAME_LABEL
from session_affinity.dataplane.nftables.layout import NODE_PORT_IPS
from session_affinity.dataplane.proxy_config import ZONE_LABEL, ProxyConfig, ProxyConfigs
from session_affinity.deadlines import Deadlines
from session_affinity.nodes.by_node import ByNode
from session_affinity.scenarios.walks.run import Ground
from session_affinity.testbed.testbed import NodeTestbed
from tests import rendered_nodes
from tests.judged_nodes import JudgedNodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot

Json = dict[str, Any]
NODES = ("one", "two", "three")
ADDRESSES = {name: (f"172.18.0.{number}",) for number, name in enumerate(NODES, 2)}


@dataclass
class SimulatedKubeProxy:
    """The kube-proxy of a node. ``loses_changes`` makes it defective: what a failed sync had to write is lost.

    With ``loses_addresses`` it answers no node port after its syncs failed, until it is started again.
    """

    node: str
    mode: str
    loses_changes: bool = False
    loses_addresses: bool = False
    has_no_address: bool = False
    services: dict[str, Json] = field(default_factory=dict)
    slices: dict[tuple[str, str], Json] = field(default_factory=dict)
    written: dict[str, ServiceState] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    waiting: list[tuple[str, Json, Json | None]] = field(default_factory=list)
    is_paused: bool = False
    is_failing: bool = False

    def learn(self, kind: str, after: Json, before: Json | None) -> None:
        """Take note of an object that was created, changed (from ``before``), or deleted: it has no kind then."""
        self.waiting.append((kind, after, before))
        self.work()

    def work(self) -> None:
        """Take note of what waits, unless paused; the sync that follows each change is left to ``read``."""
        while self.waiting and not self.is_paused:
            self._note(*self.waiting.pop(0))
            if self.is_failing and self.loses_changes:
                self.dirty.clear()

    def _note(self, kind: str, manifest: Json, before: Json | None) -> None:
        name = manifest["metadata"]["name"]
        if kind.endswith("Service"):
            self.dirty.add(name)
            if kind.startswith("deleted"):
                self.services.pop(name, None)
            else:
                self.services[name] = manifest
            return
        is_watched = HEADLESS_LABEL not in manifest["metadata"]["labels"]
        last = manifest if is_watched or before is None else before
        key = last["metadata"]["labels"][SERVICE_NAME_LABEL], name
        self.dirty.add(key[0])
        if kind.startswith("deleted") or not is_watched:
            self.slices.pop(key, None)
        else:
            self.slices[key] = manifest

    def _sync(self) -> None:
        states = {state.name: state for state in handmade.states(self.services.values(), self.slices.values())}
        for name in list(self.dirty) if self.loses_changes else [*self.written, *states]:
            self.written.pop(name, None)
            if name in states:
                self.written[name] = states[name]
        self.dirty.clear()

    def read(self, proxy: ProxyConfig) -> NodeSnapshot:
        """Return the rules."""
        if not self.is_paused and not self.is_failing:
            self._sync()
        print_node = rendered_nodes.iptables_node if self.mode == "iptables" else rendered_nodes.nftables_node
        snapshot = print_node(list(self.written.values()), proxy, self.node)
        if not self.has_no_address or snapshot.nftables is None:
            return snapshot
        sets = snapshot.nftables.sets
        empty = {NODE_PORT_IPS: replace(sets[NODE_PORT_IPS], elements={})}
        return replace(snapshot, nftables=replace(snapshot.nftables, sets={**sets, **empty}))


class World(JudgedNodes):
    """The API and the nodes; stands in for hand-made Services, nodes and kube-proxies at the same time."""

    allowed_missing = 0

    def __init__(self, mode: str = "iptables", *, defective: str = "") -> None:
        self.mode = mode
        self.proxies = {node: SimulatedKubeProxy(node, mode, node == defective) for node in NODES}
        self.zones: dict[str, str] = {}
        self.objects: dict[tuple[str, str], Json] = {}
        self.missing: dict[str, str] = {}
        self.unreadable: set[str] = set()
        self.names: tuple[str, ...] = NODES
        self._numbers = itertools.count(1)

    def ground(self) -> Ground:
        """Return the world as the ground for walks."""
        everything: Any = self
        configs = ProxyConfigs(default=self._config())
        testbed = NodeTestbed(everything, configs, Deadlines(sync=2.0))
        return Ground(everything, testbed, everything, everything, others=())

    # Hand-made Services.
    def create(self, manifests: Iterable[Json]) -> list[Json]:
        return [self._store(manifest, None) for manifest in manifests]

    def change(self, manifests: Iterable[Json]) -> list[Json]:
        return [self._store(manifest, self.objects[key(manifest)]) for manifest in manifests]

    def delete(self, manifests: Iterable[Json]) -> None:
        for manifest in list(manifests):
            if before := self.objects.pop(key(manifest), None):
                self._tell(f"deleted {manifest['kind']}", before, before)

    def stored(self) -> tuple[list[Json], list[Json]]:
        services, slices = (
            [each for (kind, _), each in self.objects.items() if kind == wanted]
            for wanted in ("Service", "EndpointSlice")
        )
        return services, slices

    def _store(self, manifest: Json, before: Json | None) -> Json:
        metadata = {**manifest["metadata"], "namespace": "work"}
        stored = {**manifest, "metadata": metadata}
        if manifest["kind"] == "Service":
            address = before["spec"]["clusterIP"] if before else f"10.200.0.{next(self._numbers)}"
            ports = manifest["spec"].get("ports", [])
            if manifest["spec"].get("type") == "NodePort":
                ports = [{"nodePort": 30000 + next(self._numbers), **port} for port in ports]
            stored["spec"] = {**manifest["spec"], "clusterIP": address, "ports": ports}
        self.objects[key(manifest)] = stored
        self._tell(manifest["kind"], stored, before)
        return stored

    def _tell(self, kind: str, manifest: Json, before: Json | None) -> None:
        for proxy in self.proxies.values():
            proxy.learn(kind, manifest, before)

    # Nodes.
    def only(self, names: Iterable[str]) -> World:
        some = copy.copy(self)
        some.names = tuple(names)
        return some

    def read(self, names: Collection[str]) -> ByNode[NodeSnapshot]:
        for proxy in self.proxies.values():
            proxy.work()
        read = {name: self.proxies[name].read(self._config()) for name in names if name not in self.unreadable}
        return ByNode(read, {name: "gone" for name in names if name in self.unreadable})

    def _config(self) -> ProxyConfig:
        return ProxyConfig(
            self.mode, "10.10.0.0/16", min_sync_period=0.0, zones=dict(self.zones), node_addresses=ADDRESSES
        )

    # The API, for zones.
    def patch(self, _: object, node: str, __: str, change: Json) -> None:
        self.zones[node] = change["metadata"]["labels"][ZONE_LABEL] or ""

    # Kube-proxies.
    def pause(self, node: str) -> None:
        self.proxies[node].is_paused = True

    def resume(self, node: str) -> None:
        self.proxies[node].is_paused = False
        self.proxies[node].work()

    def fail_syncs(self, node: str) -> int:
        self.proxies[node].is_failing = True
        return 1024

    def end_failures(self, node: str, files: int) -> None:
        proxy = self.proxies[node]
        proxy.is_failing = files != 1024
        proxy.has_no_address = proxy.has_no_address or proxy.loses_addresses

    def restart(self, node: str) -> None:
        proxy = self.proxies[node]
        proxy.services, proxy.slices, proxy.written = {}, {}, {}
        proxy.has_no_address = False
        proxy.waiting = [(kind, stored, None) for (kind, _), stored in self.objects.items()]
        proxy.work()

    def failed_syncs(self, _: str) -> dict[str, int]:
        return {}


def key(manifest: Json) -> tuple[str, str]:
    """Return kind and name."""
    return manifest["kind"], manifest["metadata"]["name"]
