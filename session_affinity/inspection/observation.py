"""What was read about a Service and about the nodes, in one value: diagnoses are functions of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import Endpoint, Family, ServicePort
    from session_affinity.inspection.objects import InspectedObjects, Object


@dataclass(frozen=True)
class Unread:
    """Something that could not be read, and why.

    Without what ``is_decisive`` nobody can say that affinity works; without the rest a name or a hint is missing.
    """

    what: str
    why: str
    is_decisive: bool = True


@dataclass(frozen=True)
class BoundClient:
    """A client that a node binds to an endpoint.

    ``port`` is the Service port in words, ``store`` the recent list or set. ``age`` is the seconds since the client's
    last new connection, ``seconds_left`` how many more it stays bound without one: negative for an entry that is listed
    but expired. Both are None where the node's clock is not known. ``connections`` is the number of connection times in
    the entry, at most 32; None in nftables mode, which keeps none.
    """

    node: str
    family: Family
    port: str
    store: str
    endpoint: Endpoint
    client: str
    age: float | None = None
    seconds_left: float | None = None
    connections: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether the client is still bound; True when the time left is not known."""
        return self.seconds_left is None or self.seconds_left >= 0


@dataclass(frozen=True)
class StoreUse:
    """How full the affinity store of an endpoint is on a node.

    ``live`` are the clients that are bound, ``listed`` all entries. ``capacity`` is the most entries that the store can
    have, None when that is not known. ``kind`` is ``list`` or ``set``.
    """

    node: str
    store: str
    endpoint: Endpoint
    kind: str
    live: int
    listed: int
    capacity: int | None = None


class RulesState(StrEnum):
    """What is known of a node's rules for the Service."""

    EXPECTED = "as expected"
    DIFFER = "differ"
    NOT_COMPARED = "not compared"
    NOT_READ = "not read"


@dataclass(frozen=True)
class NodeReading:
    """What a node has for the Service.

    ``mode`` is that of the node's kube-proxy. ``not_compared`` and ``not_read`` say why rules are not compared, or
    nothing of the node could be read; empty when they are. ``failed_syncs`` is how many syncs of kube-proxy failed
    since it started; it is asked only where rules differ, and None where it does not answer.
    """

    node: str
    mode: str
    differences: tuple[Difference, ...] = ()
    bindings: tuple[BoundClient, ...] = ()
    stores: tuple[StoreUse, ...] = ()
    not_compared: str = ""
    not_read: str = ""
    failed_syncs: int | None = None

    @property
    def rules(self) -> RulesState:
        """What is known of the node's rules."""
        if self.not_read:
            return RulesState.NOT_READ
        if self.not_compared:
            return RulesState.NOT_COMPARED
        return RulesState.DIFFER if self.differences else RulesState.EXPECTED


class ClientKind(StrEnum):
    """Whose address a client has."""

    POD = "pod"
    NODE = "node"
    POD_RANGE = "pod range"
    """An address of a node's pod range that no pod has (any more): a pod that is gone, or the node's own bridge."""
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ClientIdentity:
    """Whose address a client has: ``name`` is ``namespace/name`` of a pod, or the name of a node."""

    kind: ClientKind = ClientKind.UNKNOWN
    name: str = ""
    pod: Object | None = None


UNKNOWN_CLIENT = ClientIdentity()


@dataclass(frozen=True)
class Observation:
    """A Service, the nodes, and what could not be read.

    ``nodes`` is empty without access to nodes; ``modes`` are the modes of their kube-proxies then too, as far as they
    are known, with ``mode_source`` as where that was read. ``clients`` has whose address each client of a binding has.
    """

    objects: InspectedObjects
    nodes: tuple[NodeReading, ...] = ()
    modes: tuple[str, ...] = ()
    mode_source: str = ""
    clients: Mapping[str, ClientIdentity] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()

    @property
    def live_bindings(self) -> tuple[BoundClient, ...]:
        """The clients that are bound, the newest connection first."""
        live = [binding for node in self.nodes for binding in node.bindings if binding.is_live]
        return tuple(sorted(live, key=lambda binding: (binding.age is None, binding.age or 0.0, binding.client)))

    @property
    def reads_nodes(self) -> bool:
        """Whether at least one node was read."""
        return any(not node.not_read for node in self.nodes)

    @property
    def binds_clients(self) -> bool:
        """Whether nodes were read that may have affinity entries of the Service."""
        return self.reads_nodes and self.objects.has_affinity and bool(self.objects.cluster_ips)

    def client(self, address: str) -> ClientIdentity:
        """Return whose address a client has."""
        return self.clients.get(address, UNKNOWN_CLIENT)


def port_in_words(port: ServicePort) -> str:
    """Return the name of a Service port, or number and protocol of one without a name."""
    return port.name or f"{port.port}/{port.protocol}"
