"""A node's rules and affinity entries for one Service, from snapshots: compared, and with the age of each entry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.inspection.observation import BoundClient, NodeReading, StoreUse, port_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.inspection.objects import InspectedObjects

RECENT_LIST_CAPACITY: Final = 100
"""The default of xt_recent's parameter ip_list_tot."""


def reading_of(
    node: str,
    snapshots: Mapping[Family, NodeSnapshot],
    objects: InspectedObjects,
    proxy: ProxyConfig,
    *,
    hz: int | None = None,
    list_capacity: int | None = RECENT_LIST_CAPACITY,
) -> NodeReading:
    """Return what a node has for a Service, from its snapshots by IP family.

    ``hz`` is the tick rate of the node's kernel, without which entries of recent lists have no times.
    ``list_capacity`` is the most clients of a recent list, None when that is not known.
    """
    backend = BACKENDS.get(proxy.mode)
    if backend is None:
        return NodeReading(node, proxy.mode, not_compared=proxy.not_judged or f"kube-proxy runs in {proxy.mode} mode")
    states = objects.states_of(proxy.expected_release)
    pairs = [(snapshots[family], state) for family, state in states.items() if family in snapshots]
    not_compared = _not_compared(objects, proxy)
    differences = [] if not_compared else [each for pair in pairs for each in backend.compare(*pair, proxy)]
    bindings = [binding for pair in pairs for binding in bindings_of(backend, *pair, hz)]
    stores = [store for pair in pairs for store in stores_of(backend, *pair, bindings, list_capacity)]
    return NodeReading(node, proxy.mode, tuple(differences), tuple(bindings), tuple(stores), not_compared)


def _not_compared(objects: InspectedObjects, proxy: ProxyConfig) -> str:
    if objects.slices is None:
        return "the EndpointSlices could not be read"
    if objects.proxy_name:
        return f"kube-proxy leaves this Service to {objects.proxy_name}"
    return proxy.not_judged


def bindings_of(backend: Backend, snapshot: NodeSnapshot, state: ServiceState, hz: int | None) -> Iterator[BoundClient]:
    """Yield a Service's affinity entries on a node, expired ones included where they stay listed."""
    for port in state.ports:
        for entry in backend.affinity_entries(snapshot, replace(state, ports=(port,)), hz):
            yield BoundClient(
                node=snapshot.node,
                family=state.family,
                port=port_in_words(port),
                store=entry.store,
                endpoint=entry.endpoint,
                client=entry.client,
                age=_age(snapshot, state, entry, hz),
                seconds_left=entry.seconds_left,
                connections=entry.entry.connections if entry.entry else None,
            )


def _age(snapshot: NodeSnapshot, state: ServiceState, entry: AffinityEntry, hz: int | None) -> float | None:
    """Return the seconds since a client's last new connection.

    In nftables mode it is computed from the timeout that the element was given, which stays the old one after a change
    of the Service's timeout until the client's next connection.
    """
    if entry.entry is not None:
        return None if hz is None or snapshot.jiffies is None else entry.entry.age(snapshot.clock(hz))
    nft_set = snapshot.nftables.sets.get(entry.store) if snapshot.nftables else None
    if nft_set is None or entry.seconds_left is None:
        return None
    element = nft_set.elements.get((entry.client,))
    timeout = (element.timeout if element else None) or nft_set.timeout or state.timeout_seconds
    age = None if timeout is None else timeout - entry.seconds_left
    return None if age is None or age < 0 else age


def stores_of(
    backend: Backend,
    snapshot: NodeSnapshot,
    state: ServiceState,
    bindings: list[BoundClient],
    list_capacity: int | None,
) -> Iterator[StoreUse]:
    """Yield how full each affinity store of a Service is on a node; stores that do not exist there are left out."""
    endpoints = backend.affinity_stores(state)
    for name in backend.existing_stores(snapshot, state):
        entries = [binding for binding in bindings if binding.store == name]
        yield StoreUse(
            node=snapshot.node,
            store=name,
            endpoint=endpoints[name],
            kind=backend.store_kind,
            live=sum(binding.is_live for binding in entries),
            listed=len(entries),
            capacity=list_capacity if backend.counts_connections else _set_size(snapshot, name),
        )


def _set_size(snapshot: NodeSnapshot, name: str) -> int | None:
    nft_set = snapshot.nftables.sets.get(name) if snapshot.nftables else None
    return nft_set.size if nft_set else None
