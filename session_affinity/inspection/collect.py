"""Read a Service, what the API has about it, and all nodes, at the same time; nothing is changed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.model import SERVICE_NAME_LABEL
from session_affinity.dataplane.proxy_config import MIN_SYNC_PERIOD_SECONDS, UNKNOWN, ProxyConfig
from session_affinity.errors import ClusterError, NodeError, UsageError
from session_affinity.inspection.identities import identify
from session_affinity.inspection.node_reading import RECENT_LIST_CAPACITY, reading_of
from session_affinity.inspection.objects import LOAD_BALANCER, InspectedObjects, is_over, node_addresses, pod_addresses
from session_affinity.inspection.observation import NodeReading, Observation, RulesState, Unread
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import (
    ENDPOINT_SLICES,
    EVENTS,
    HTTP_ROUTES,
    INGRESSES,
    NODES,
    PODS,
    SERVICES,
    Resource,
)
from session_affinity.nodes.kube_proxy import KubeProxies
from session_affinity.text import listed
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.inspection.cluster import InspectedCluster
    from session_affinity.inspection.objects import Object
    from session_affinity.kube.api import Api

AT_ONCE: Final = 8
"""How many requests the API gets at the same time."""
DIFFERENCE_SECONDS: Final = 1.5
"""How long a difference must last to count: kube-proxy may put off a sync for a second, its default minSyncPeriod.

What a longer minSyncPeriod exceeds it by is added.
"""
MOST_NODES_WITH_CLIENTS: Final = 20
MOST_SEARCHED_ADDRESSES: Final = 20
"""How many nodes' pods are listed, and for how many more addresses pods are searched, to name clients."""
LIST_CAPACITY_FILE: Final = "/sys/module/xt_recent/parameters/ip_list_tot"


@dataclass(frozen=True)
class InspectedNode:
    """What was read of a node, or why nothing was."""

    snapshots: Mapping[Family, NodeSnapshot]
    hz: int | None = None
    list_capacity: int | None = RECENT_LIST_CAPACITY
    not_read: str = ""


def collect(cluster: InspectedCluster, namespace: str, name: str) -> Observation:
    """Return what is observed of a Service.

    Raises UsageError when there is no such Service, ApiError when it cannot be read. What else cannot be read is named
    in the observation.
    """
    service = read_service(cluster.api, namespace, name)
    with ThreadPoolExecutor(AT_ONCE + len(cluster.nodes.names), thread_name_prefix="inspect") as pool:
        reader = _Reader(cluster, pool)
        return reader.observe(service)


def read_service(api: Api, namespace: str, name: str) -> Object:
    """Return a Service; raises UsageError, naming similar ones, when there is none of that name."""
    try:
        return api.get(SERVICES, name, namespace)
    except ApiError as error:
        if error.status != 404:
            raise
        raise UsageError(
            f"there is no Service {name} in namespace {namespace}", next_step=_similar(api, namespace, name)
        ) from error


def _similar(api: Api, namespace: str, name: str) -> str:
    with suppress(ApiError):
        names = [str(service["metadata"]["name"]) for service in api.objects(SERVICES, namespace)]
        close = get_close_matches(name, names)
        if close:
            return f"did you mean {' or '.join(close)}?"
        if names:
            return f"namespace {namespace} has {listed(sorted(names))}; -n names another namespace"
    return f"kubectl get services -A | grep {name}"


class _Reader:
    """Reads with a pool of threads, and gathers what cannot be read."""

    def __init__(self, cluster: InspectedCluster, pool: ThreadPoolExecutor) -> None:
        self._api = cluster.api
        self._nodes = cluster.nodes
        self._cluster = cluster
        self._pool = pool
        self._unread: list[Unread] = list(cluster.unread)
        self._began = time.monotonic()

    def observe(self, service: Object) -> Observation:
        reads = self._pool.submit(self._read_nodes, InspectedObjects(service).families) if self._nodes.names else None
        objects = self._objects(service)
        configs = self._cluster.proxy_configs.with_nodes(objects.nodes or ())
        readings = () if reads is None else self._readings(objects, configs, reads.result())
        if readings and any(node.rules is RulesState.DIFFER for node in readings):
            objects, readings = self._after_a_sync(objects, configs)
            readings = tuple(self._with_failed_syncs(node, configs) for node in readings)
        addresses = {binding.client for node in readings for binding in node.bindings if binding.is_live}
        if any(binding.seconds_left is None for node in readings for binding in node.bindings):
            why = "/proc/timer_list is masked on the nodes, so that expired entries cannot be distinguished either"
            self._unread.append(Unread("when clients connected", why, is_decisive=False))
        pods, sees_all_pods = self._client_pods(objects, readings, addresses)
        return Observation(
            objects,
            readings,
            modes=tuple(dict.fromkeys(config.mode for config in configs.distinct)),
            mode_source="; ".join(dict.fromkeys(config.source for config in configs.distinct)),
            clients=identify(addresses, objects.nodes, pods, sees_all_pods=sees_all_pods),
            unread=tuple(self._unread),
        )

    def _objects(self, service: Object) -> InspectedObjects:
        namespace, name = str(service["metadata"]["namespace"]), str(service["metadata"]["name"])
        is_balancer = service["spec"].get("type") == LOAD_BALANCER
        about = f"involvedObject.kind=Service,involvedObject.name={name}"
        slices = self._submit(
            "EndpointSlices", ENDPOINT_SLICES, namespace, labels=f"{SERVICE_NAME_LABEL}={name}", is_decisive=True
        )
        pods = self._submit(f"pods in namespace {namespace}", PODS, namespace, is_decisive=True)
        nodes = self._submit("nodes", NODES)
        events = self._submit("events", EVENTS, namespace, fields=about, is_decisive=is_balancer)
        ingresses = self._submit("Ingresses", INGRESSES, namespace)
        routes = self._submit("HTTPRoutes", HTTP_ROUTES, namespace)
        read_ingresses, read_routes = ingresses.result(), routes.result()
        return InspectedObjects(
            service,
            slices=slices.result(),
            pods=pods.result(),
            nodes=nodes.result(),
            events=events.result(),
            routes=(*_kinds(read_ingresses, "Ingress"), *_kinds(read_routes, "HTTPRoute")),
        )

    def _submit(
        self,
        what: str,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        is_decisive: bool = False,
    ) -> Future[tuple[Object, ...] | None]:
        def read() -> tuple[Object, ...] | None:
            try:
                return tuple(self._api.objects(resource, namespace, labels=labels, fields=fields))
            except ApiError as error:
                if error.status == 404:  # the cluster does not have this kind
                    return ()
                self._unread.append(Unread(what, _reason(error), is_decisive))
                return None

        return self._pool.submit(read)

    def _read_nodes(self, families: Sequence[Family]) -> dict[str, InspectedNode]:
        """Read all nodes; the thread that waits for the others is not one of the pool's."""
        names = self._nodes.names
        with ThreadPoolExecutor(len(names), thread_name_prefix="read") as pool:
            return dict(zip(names, pool.map(lambda name: self._read_node(name, families), names), strict=True))

    def _read_node(self, name: str, families: Sequence[Family]) -> InspectedNode:
        try:
            config = self._cluster.proxy_configs.of(name)
            snapshots = {family: self._nodes.in_family(family).read_one(name) for family in families}
            backend = BACKENDS.get(config.mode)
            if backend is None or not backend.counts_connections:
                return InspectedNode(snapshots)
            return InspectedNode(snapshots, self._hz(name, snapshots), self._list_capacity(name))
        except (NodeError, ClusterError) as error:
            return InspectedNode({}, not_read=_reason(error))

    def _hz(self, name: str, snapshots: Mapping[Family, NodeSnapshot]) -> int | None:
        """Return the tick rate of a node's kernel; None where its clock cannot be read.

        It takes a second, during which the others are read; without a recent list nobody needs it.
        """
        has_entries = any(recent_list.entries for read in snapshots.values() for recent_list in read.lists.values())
        if not has_entries or any(read.jiffies is None for read in snapshots.values()):
            return None
        return self._nodes.hz(name)

    def _list_capacity(self, name: str) -> int | None:
        done = self._nodes.run(name, ("cat", LIST_CAPACITY_FILE))
        text = done.stdout.strip()
        return int(text) if done.returncode == 0 and text.isdigit() else RECENT_LIST_CAPACITY

    def _readings(
        self, objects: InspectedObjects, configs: ProxyConfigs, reads: Mapping[str, InspectedNode]
    ) -> tuple[NodeReading, ...]:
        return tuple(
            NodeReading(name, _config(configs, name).mode, not_read=read.not_read)
            if read.not_read
            else _unreadable(
                reading_of(
                    name, read.snapshots, objects, _config(configs, name), hz=read.hz, list_capacity=read.list_capacity
                ),
                configs.unreadable,
            )
            for name, read in reads.items()
        )

    def _after_a_sync(
        self, objects: InspectedObjects, configs: ProxyConfigs
    ) -> tuple[InspectedObjects, tuple[NodeReading, ...]]:
        """Read Service and nodes again until nothing differs, or a difference has lasted ``DIFFERENCE_SECONDS``.

        Differences are those of a change that kube-proxy is about to write, unless they last.
        """
        readings: tuple[NodeReading, ...] = ()

        def as_expected() -> bool:
            nonlocal objects, readings
            service, slices = self._api.service_with_slices(objects.namespace, objects.name)
            objects = replace(objects, service=service, slices=tuple(slices))
            readings = self._readings(objects, configs, self._read_nodes(objects.families))
            return not any(node.rules is RulesState.DIFFER for node in readings)

        seconds = DIFFERENCE_SECONDS + max(configs.min_sync_period - MIN_SYNC_PERIOD_SECONDS, 0.0)
        poll(as_expected, max(self._began + seconds - time.monotonic(), 0.0), pause=0.3)
        return objects, readings

    def _with_failed_syncs(self, reading: NodeReading, configs: ProxyConfigs) -> NodeReading:
        """Return the reading of a node whose rules differ with the number of its kube-proxy's failed syncs."""
        if reading.rules is not RulesState.DIFFER:
            return reading
        try:
            failed = KubeProxies(self._nodes, configs, ()).failed_syncs(reading.node)
        except NodeError:
            return reading
        return replace(reading, failed_syncs=sum(failed.values()))

    def _client_pods(
        self, objects: InspectedObjects, readings: Iterable[NodeReading], addresses: set[str]
    ) -> tuple[list[Object], bool]:
        """Return the pods among which the clients are, and whether a client that is none of them is no pod.

        A pod's connections are bound on its own node, so that the pods of the nodes with clients are listed first; for
        addresses that are left, pods are searched by their primary address.
        """
        if not addresses:
            return [], True
        pods = list(objects.pods or ())
        nodes = [node.node for node in readings if any(binding.is_live for binding in node.bindings)]
        sees_all = len(nodes) <= MOST_NODES_WITH_CLIENTS
        denied = len(self._unread)
        queries = [f"spec.nodeName={node}" for node in nodes[:MOST_NODES_WITH_CLIENTS]]
        pods += self._pods(queries)
        left = sorted(
            addresses
            - {address for pod in pods if not is_over(pod) for address in pod_addresses(pod)}
            - _of_nodes(objects)
        )
        if len(self._unread) == denied:
            pods += self._pods([f"status.podIP={address}" for address in left[:MOST_SEARCHED_ADDRESSES]])
            sees_all = sees_all and len(left) <= MOST_SEARCHED_ADDRESSES
        return pods, sees_all and len(self._unread) == denied

    def _pods(self, queries: Iterable[str]) -> list[Object]:
        reads = [self._submit("pods of all namespaces, to name clients", PODS, fields=query) for query in queries]
        pods = [pod for read in reads for pod in read.result() or ()]
        self._unread = list(dict.fromkeys(self._unread))
        return pods


def _reason(error: ClusterError) -> str:
    """Return why something could not be read, with the next step."""
    if isinstance(error, ApiError) and error.status == 403:
        return "no permission to read them"
    return f"{error.what}; {error.next_step}" if error.next_step else error.what


def _kinds(objects: Iterable[Object] | None, kind: str) -> list[Object]:
    """Return objects with their kind, which lists of the API leave out."""
    return [{"kind": kind, **each} for each in objects or ()]


def _of_nodes(objects: InspectedObjects) -> set[str]:
    return {address for node in objects.nodes or () for address in node_addresses(node)}


def _config(configs: ProxyConfigs, node: str) -> ProxyConfig:
    """Return the settings of a node's kube-proxy; unknown ones for a node that joined meanwhile."""
    try:
        return configs.of(node)
    except ClusterError as error:
        return ProxyConfig(UNKNOWN, None, source=error.what)


def _unreadable(reading: NodeReading, reason: str) -> NodeReading:
    """Return a reading as one whose rules were not compared, where the rules on nodes cannot be read."""
    return replace(reading, differences=(), not_compared=reason) if reason and not reading.not_compared else reading
