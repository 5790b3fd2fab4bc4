"""The protocol that a kube-proxy backend implements: expected rules, differences, and affinity entries of a node.

Nothing here talks to a cluster. A node is given as the ``NodeSnapshot`` that one command read, a Service as the
``ServiceState`` made from API objects, so every method is a pure function and can be tested with text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.differences import Difference, Leftovers
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.dataplane.xt_recent import Entry


@dataclass(frozen=True)
class AffinityEntry:
    """A client's entry for one endpoint of a Service on one node.

    ``store`` is the name of the recent list or set that has the entry. ``seconds_left`` is how long the client stays
    bound if it opens no connection: negative for an entry that is listed but expired, None when the node's clock is
    unknown, and rounded down to the second where ``Backend.counts_connections`` is False. ``entry`` has the times of
    the client's connections where the backend keeps them.
    """

    store: str
    endpoint: Endpoint
    client: str
    seconds_left: float | None = None
    entry: Entry | None = None

    @property
    def is_live(self) -> bool:
        """Whether the client is still bound; True when the time left is unknown."""
        return self.seconds_left is None or self.seconds_left >= 0

    @property
    def stamps(self) -> tuple[int, ...]:
        """The jiffies of the client's latest connections; empty where the backend keeps none."""
        return self.entry.stamps if self.entry else ()

    @property
    def is_full(self) -> bool:
        """Whether the next connection replaces the oldest time in ``stamps``."""
        return self.entry is not None and len(self.entry.stamps) == self.entry.capacity

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {self.seconds_left:.2f} s left"
        stamps = f", {len(self.stamps)} stamps" if self.entry else ""
        return f"{self.client} in {self.store} ({self.endpoint.pod or self.endpoint.at}){left}{stamps}"


class ExpectedState(Protocol):
    """The objects that a node is expected to have for a Service."""

    @property
    def names(self) -> Sequence[str]:
        """The chains and sets that belong to this Service alone."""


class Backend(Protocol):
    """A mode of kube-proxy, or any other program that writes Service rules on nodes."""

    @property
    def mode(self) -> str:
        """The value of ``--proxy-mode`` that selects it, as in the ``modes`` of a claim."""

    @property
    def store_kind(self) -> str:
        """The word for an affinity store in messages: ``list`` or ``set``."""

    @property
    def counts_connections(self) -> bool:
        """Whether an entry has the time of each connection, in jiffies; reading it then needs the node's tick rate."""

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedState:
        """Return what a node should have for a Service; ``node`` matters for Local policies, zones and hints."""

    def compare(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return every difference between a node and the expected state of a Service, leftovers included.

        Any state of ``ServiceState.alternatives`` is right. Rules that every Service needs are compared too.
        """

    def compare_many(
        self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Return the differences of many Services, as ``compare`` does of one, and quickly.

        Where two of the Services have the same address and port, what either calls for there is right.
        """

    def leftovers(self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig) -> Leftovers:
        """Return what the node has although none of the Services calls for it; they must be all of the cluster."""

    def has_service(self, snapshot: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has the balancing chains of a Service; only for a Service with ready endpoints."""

    def needed_chain(self, service: ServiceState, proxy: ProxyConfig, node: str) -> str:
        """Return a chain without which a node does not have the expected rules of a Service.

        Empty where no chain is known to be needed, as slices disagree about endpoints, or where it takes as long to
        ask for a chain as to read all.
        """

    def affinity_timeouts(self, snapshot: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the affinity timeouts in seconds that a node has programmed, by affinity store."""

    def normalised(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's rules on a node without clients, counters and comments, to compare nodes as text."""

    def expected_lines(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return the expected rules in the format of ``normalised``, for display beside it.

        Do not compare the two as text: kube-proxy versions format the same rule differently; use ``compare``.
        """

    def affinity_rules(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the rules and sets of a Service that look up or update affinity entries."""

    def objects_of(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return every object on a node that belongs to a Service alone, former endpoints included.

        All of them must disappear when the Service is deleted.
        """

    def possible_names(self, service: ServiceState) -> frozenset[str]:
        """Return the names that chains and sets of a Service and its endpoints can have, existing or not."""

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the names of a Service's affinity stores with their endpoints, computed from the API objects."""

    def existing_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the affinity stores of a Service that exist on a node."""

    def unused_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the affinity stores that a node keeps for former endpoints of a Service, and rightly."""

    def affinity_entries(
        self, snapshot: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return a Service's affinity entries on a node, expired ones included where they stay listed.

        ``hz`` is the node's tick rate; without it a backend that counts connections leaves ``seconds_left`` at None.
        """

    def pin_argv(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that puts a client into one affinity store of a Service and removes it from the others."""


def of_client(entries: Iterable[AffinityEntry], client: str) -> tuple[AffinityEntry, ...]:
    """Return the entries of one client."""
    return tuple(entry for entry in entries if entry.client == client)
