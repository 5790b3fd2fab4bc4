"""The clients that a walk has bound on nodes, and which of them must still be bound after what was changed since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from session_affinity.dataplane.backend import AffinityEntry, Backend
    from session_affinity.dataplane.model import ServicePort, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig


@dataclass(frozen=True)
class Binding:
    """A client that is bound to an endpoint of a Service on a node: it has an entry in the endpoint's store."""

    node: str
    service: str
    client: str
    store: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.client} bound to {self.endpoint} of Service {self.service}"


@dataclass(frozen=True)
class WrongEntry:
    """An affinity entry that is missing, or one of a client that is not bound there."""

    node: str
    service: str
    expected: str
    seen: str


class Bindings:
    """The bound clients of a walk.

    A client stays bound while every state of its Service calls for the store of its endpoint on its node. Where one
    did not between two waits, whether kube-proxy has seen that state is not known, and the client may be bound or not.
    """

    def __init__(self) -> None:
        self._certain: dict[tuple[str, str, str], Binding] = {}
        self._possible: set[Binding] = set()

    def bind(self, binding: Binding, stores: Collection[str]) -> None:
        """Note a client that was bound by the entry in one of the stores, and has none in the others of them."""
        self._possible = {
            other for other in self._possible if _place(other) != _place(binding) or other.store not in stores
        }
        self._certain[_place(binding)] = binding

    def places(self) -> frozenset[tuple[str, str]]:
        """Return the nodes and Services that clients are bound on and to."""
        return frozenset((binding.node, binding.service) for binding in (*self._certain.values(), *self._possible))

    def keep(self, node: str, service: str, stores: Collection[str]) -> None:
        """Note a state of a Service in which a node has these stores, whichever rules of those allowed it has."""
        for place, binding in list(self._certain.items()):
            if (binding.node, binding.service) == (node, service) and binding.store not in stores:
                del self._certain[place]
                self._possible.add(binding)

    def settle(self, node: str, service: str, stores: Collection[str]) -> None:
        """Note that a node has these stores of a Service at most: entries of all others are gone.

        A store that is not called for may be there: above 1000 endpoints kube-proxy puts off deleting chains, whose
        rules keep the lists (pkg/proxy/iptables/proxier.go, largeClusterMode).
        """
        self._possible = {
            binding
            for binding in self._possible
            if (binding.node, binding.service) != (node, service) or binding.store in stores
        }

    def certain(self, node: str) -> tuple[Binding, ...]:
        """Return the clients that must be bound on a node."""
        return tuple(binding for binding in self._certain.values() if binding.node == node)

    def wrong(self, node: str, service: str, entries: Iterable[AffinityEntry]) -> Iterator[WrongEntry]:
        """Yield what is wrong with the entries that a node has for a Service."""
        seen = {(entry.store, entry.client) for entry in entries}
        bound = {
            (binding.store, binding.client): binding
            for binding in (*self._certain.values(), *self._possible)
            if (binding.node, binding.service) == (node, service)
        }
        for binding in self.certain(node):
            if binding.service == service and (binding.store, binding.client) not in seen:
                yield WrongEntry(node, service, str(binding), _others(seen, binding.client))
        for store, client in sorted(seen - bound.keys()):
            yield WrongEntry(node, service, f"no entry of {client} in {store}", f"an entry of {client}")


def stores_on(
    node: str, alternatives: Iterable[ServiceState], backend: Backend, proxy: ProxyConfig
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the stores that a node has in every one, and in any one, of the states that a Service may be in there."""
    of_each = [_stores(node, state, backend, proxy) for state in alternatives]
    return frozenset.intersection(*of_each), frozenset.union(*of_each)


def with_stores(backend: Backend, service: ServiceState, stores: Collection[str]) -> ServiceState:
    """Return a Service with the endpoints of some stores alone: a client is written to stores that exist only.

    An endpoint of two ports has a store for each, and a node may use it for one alone: hints count where all endpoints
    of a port have some (topologyModeFromHints in pkg/proxy/topology.go).
    """

    def of_port(port: ServicePort) -> ServicePort:
        names = backend.affinity_stores(replace(service, ports=(port,)))
        kept = {endpoint for name, endpoint in names.items() if name in stores}
        return replace(
            port,
            endpoints=tuple(endpoint for endpoint in port.endpoints if endpoint in kept),
            serving_terminating=tuple(endpoint for endpoint in port.serving_terminating if endpoint in kept),
        )

    return replace(service, ports=tuple(map(of_port, service.ports)))


def _stores(node: str, service: ServiceState, backend: Backend, proxy: ProxyConfig) -> frozenset[str]:
    if not service.has_affinity:
        return frozenset()
    stores: Mapping[str, object] = backend.affinity_stores(service)
    return frozenset(stores.keys() & set(backend.expected(service, proxy, node).names))


def _others(seen: Iterable[tuple[str, str]], client: str) -> str:
    stores = sorted(store for store, other in seen if other == client)
    return f"an entry in {', '.join(stores)} instead" if stores else "no entry"


def _place(binding: Binding) -> tuple[str, str, str]:
    return binding.node, binding.service, binding.client
