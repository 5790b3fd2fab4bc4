"""The backend of kube-proxy's iptables mode: rules of the tables nat and filter, and lists of ``xt_recent``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import xt_recent
from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.chain_names import CLUSTER_CHAIN
from session_affinity.dataplane.iptables import compare, expected, leftovers, queries
from session_affinity.dataplane.iptables.expected import endpoint_chains, port_chains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.dataplane.differences import Difference, Leftovers
    from session_affinity.dataplane.iptables.expected import ExpectedChains
    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig
    from session_affinity.dataplane.snapshot import NodeSnapshot


class Iptables:
    """Implements ``dataplane.backend.Backend`` with ``NodeSnapshot.ruleset`` and ``NodeSnapshot.lists``."""

    mode: Final = "iptables"
    store_kind: Final = "list"
    counts_connections: Final = True

    def expected(self, service: ServiceState, proxy: ProxyConfig, node: str = "") -> ExpectedChains:
        """Return the expected rules of a Service on a node."""
        return expected.expected(service, proxy, node)

    def compare(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[Difference, ...]:
        """Return the differences of a node's rules for a Service, chains of former endpoints included."""
        return compare.compare(snapshot.node, service, proxy, snapshot.ruleset)

    def compare_many(
        self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig
    ) -> dict[ServiceState, tuple[Difference, ...]]:
        """Return the differences of a node's rules for many Services, chains of former endpoints included."""
        return compare.compare_many(snapshot.node, services, proxy, snapshot.ruleset)

    def leftovers(self, snapshot: NodeSnapshot, services: Iterable[ServiceState], proxy: ProxyConfig) -> Leftovers:
        """Return the chains and rules that none of the cluster's Services calls for."""
        return leftovers.leftovers(snapshot.node, services, proxy, snapshot.ruleset)

    def has_service(self, snapshot: NodeSnapshot, service: ServiceState) -> bool:
        """Return whether a node has the KUBE-SVC chains of a Service."""
        return snapshot.ruleset.chains().keys() >= set(port_chains(service, CLUSTER_CHAIN))

    def needed_chain(self, service: ServiceState, proxy: ProxyConfig, node: str) -> str:
        """Return a KUBE-SVC or KUBE-SVL chain; in nf_tables it can be asked for alone (``snapshot.NF_TABLES``)."""
        chains = () if service.twins else expected.expected(service, proxy, node).chains
        return next((chain for chain in expected.balancing_chains(service) if chain in chains), "")

    def affinity_timeouts(self, snapshot: NodeSnapshot, service: ServiceState) -> dict[str, int]:
        """Return the ``--seconds`` of the rcheck rules by recent list."""
        return queries.affinity_timeouts(service, snapshot.ruleset)

    def normalised(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's rules without counters and comments."""
        return queries.normalised(service, snapshot.ruleset)

    def expected_lines(self, snapshot: NodeSnapshot, service: ServiceState, proxy: ProxyConfig) -> tuple[str, ...]:
        """Return the expected nat rules of a Service, one per line."""
        return tuple(map(str, expected.expected(service, proxy, snapshot.node).rules))

    def affinity_rules(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return a Service's rules that match with ``recent``."""
        return queries.affinity_rules(service, snapshot.ruleset)

    def objects_of(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the entry rules, chains and recent lists of a Service.

        Without an entry rule there are none where kube-proxy puts off the deletion of unused chains, whose rules keep
        the lists (pkg/proxy/iptables/proxier.go, largeClusterMode).
        """
        if queries.is_deletion_deferred(service, snapshot.ruleset):
            return ()
        chains = queries.objects_of(service, snapshot.ruleset)
        names = {*endpoint_chains(service), *queries.endpoint_chain_targets(service, snapshot.ruleset)}
        return (*chains, *(f"list {name}" for name in snapshot.lists if name in names))

    def possible_names(self, service: ServiceState) -> frozenset[str]:
        """Return the names of the chains of a Service's ports and endpoints, existing or not."""
        return frozenset((*port_chains(service), *endpoint_chains(service)))

    def affinity_stores(self, service: ServiceState) -> Mapping[str, Endpoint]:
        """Return the endpoints by recent list, which has the name of the endpoint's chain."""
        return endpoint_chains(service)

    def existing_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the recent lists of a Service that exist on a node."""
        return tuple(name for name in endpoint_chains(service) if name in snapshot.lists)

    def unused_stores(self, snapshot: NodeSnapshot, service: ServiceState) -> tuple[str, ...]:
        """Return the recent lists of chains that no packet gets to, and that kube-proxy has not deleted yet."""
        return tuple(name for name in queries.deferred_chains(service, snapshot.ruleset) if name in snapshot.lists)

    def affinity_entries(
        self, snapshot: NodeSnapshot, service: ServiceState, hz: int | None = None
    ) -> tuple[AffinityEntry, ...]:
        """Return the entries of a Service's recent lists, live or expired."""
        return tuple(_entries(snapshot, service, hz))

    def pin_argv(self, service: ServiceState, client: str, store: str) -> tuple[str, ...]:
        """Return the command that writes to the recent lists; it ends with 1 when one of them does not exist."""
        others = (name for name in endpoint_chains(service) if name != store)
        removals = [(name, xt_recent.remove(client)) for name in (*others, store)]
        return xt_recent.write_argv(*removals, (store, xt_recent.add(client)))


def _entries(snapshot: NodeSnapshot, service: ServiceState, hz: int | None) -> Iterator[AffinityEntry]:
    has_clock = hz is not None and snapshot.jiffies is not None and service.timeout_seconds is not None
    for name, endpoint in endpoint_chains(service).items():
        for entry in snapshot.lists[name].entries if name in snapshot.lists else ():
            left = entry.expires_in(snapshot.clock(hz or 0), service.timeout_seconds or 0) if has_clock else None
            yield AffinityEntry(name, endpoint, entry.address, left, entry)
