"""What the suite asks of a dataplane: the seam that iptables and nftables fill, and any other one could.

Nothing here talks to a cluster. A node is given as the ``NodeSnapshot`` that one command read, a Service as the
``ServiceState`` that the API's objects make, so every answer is a pure function and is tested with text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import Endpoint, ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.dataplane.xt_recent import Entry


@dataclass(frozen=True)
class AffinityEntry:
    """A client that a node remembers for one endpoint of a Service.

    ``store`` is the name of the list or set that has it. ``seconds_left`` is how long the client stays bound if it
    opens no connection: below 0 when it is listed and bound no more, None where the node's clock is not known; where
    ``Backend.counts_connections`` is false it is rounded down to the second. ``entry`` has the times of the client's
    connections where the dataplane keeps them.
    """

    store: str
    endpoint: Endpoint
    client: str
    seconds_left: float | None = None
    entry: Entry | None = None

    @property
    def is_live(self) -> bool:
        """Whether the client is bound, as far as that is known."""
        return self.seconds_left is None or self.seconds_left >= 0

    @property
    def stamps(self) -> tuple[int, ...]:
        """The ticks of the client's latest connections; none where the dataplane keeps none."""
        return self.entry.stamps if self.entry else ()

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {self.seconds_left:.2f} s left"
        stamps = f", {len(self.stamps)} stamps" if self.entry else ""
        return f"{self.client} in {self.store} ({self.endpoint.pod or self.endpoint.at}){left}{stamps}"


class ExpectedState(Protocol):
    """What a node owes to a Service."""

    @property
    def names(self) -> Sequence[str]:
        """The chains and sets that belong to the Service alone."""


class Backend(Protocol):
    """A mode of kube-proxy, or whatever else programs nodes with Services."""

    @property
    def mode(self) -> str:
        """What ``--proxy-mode`` and the claims' ``dataplanes`` call it."""

    @property
    def store_kind(self) -> str:
        """What remembers the clients of an endpoint: a list, a set."""

    @property
    def counts_connections(self) -> bool:
        """Whether it keeps the time of each connection, in ticks of the node's clock, and so needs that to be known."""

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedState:
        """Return what a node owes to a Service; its name matters only where a traffic policy is Local."""

    def compare(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return every difference between what a node holds for a Service and what it owes, leftovers included."""

    def compare_many(
        self, state: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Compare for many Services at once, quickly; what is left of former endpoints may be overlooked."""

    def has_service(self, state: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has learnt of a Service that has endpoints."""

    def affinity_timeouts(self, state: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the seconds that a node remembers a client of a Service for, by memory."""

    def normalised(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return what a node holds for a Service in one spelling, without clients and counters, to compare nodes."""

    def expected_lines(self, state: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return what ``normalised`` would say of a node that holds what it owes to a Service, to show both together.

        Whether they differ is for ``compare`` to tell: versions write the same in different ways.
        """

    def affinity_rules(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return what of it remembers clients or asks for them."""

    def objects_of(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return everything on a node that is of a Service alone, former endpoints included: what must go with it."""

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the endpoints of a Service by what remembers the clients of each, whether or not it is there."""

    def existing_stores(self, state: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return those of a Service's memories that a node has."""

    def affinity_entries(
        self, state: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return the clients that a node remembers for a Service; ``hz`` is its tick rate, where it counts in ticks."""

    def pinning(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that makes a node remember a client in one memory of a Service and in no other."""


def of_client(remembered: Iterable[AffinityEntry], client: str) -> tuple[AffinityEntry, ...]:
    """Return what is remembered of one client."""
    return tuple(one for one in remembered if one.client == client)
