"""Limits of recent lists in iptables mode: a full list, and an expired entry that a raised timeout makes valid."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import DEFAULT_TIMEOUT, ServiceRequest
from session_affinity.dataplane import xt_recent
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.errors import NodeError
from session_affinity.traffic.answers import target
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Endpoint, Family, ServiceState
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.answers import Answers

UNUSED_RANGES: Final[dict[Family, str]] = {"IPv4": "198.18.0.0/15", "IPv6": "2001:db8::/64"}
"""Ranges for benchmarks and documentation (RFC 2544, RFC 3849): addresses that no client of a cluster has."""
SIZE_FILE: Final = "/sys/module/xt_recent/parameters/ip_list_tot"
SHORT_SECONDS: Final = 2
OLDER: Final = 20
"""Entries older than the client's: each lookup removes the oldest entry if it has expired (``recent_entry_reap``)."""


@dataclass(frozen=True)
class ListRead:
    """A read of a list after some writes: the step that was done, the expected addresses, and the actual ones."""

    step: str
    expected: frozenset[str]
    seen: frozenset[str]


@dataclass(frozen=True)
class FullList:
    """Reads of a list with room for ``size`` clients that was filled while one client sent requests."""

    service: ServiceState
    node: str
    client: str
    size: int
    reads: tuple[ListRead, ...]


@dataclass(frozen=True)
class ExpiringEntry:
    """An entry of the client in the recent list ``chain`` of a Service with a timeout of ``SHORT_SECONDS``."""

    service: ServiceState
    chain: str


@dataclass(frozen=True)
class ReturningClient:
    """A client with an expired entry of one endpoint and a valid entry of another, when the timeout is raised.

    ``earlier`` is the endpoint of the expired entry, ``later`` that of the valid one. ``bound`` are the answers before
    the timeout was raised, ``raised`` those after it.
    """

    service: ServiceState
    earlier: Endpoint
    later: Endpoint
    bound: Answers
    raised: Answers


class LeastRecentlySet:
    """A model of a recent list of limited size: a new client replaces the client that was set least recently."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._clients: OrderedDict[str, None] = OrderedDict()

    def set(self, *clients: str) -> None:
        """Set clients, one after the other."""
        for client in clients:
            self._clients.pop(client, None)
            self._clients[client] = None
            if len(self._clients) > self._size:
                self._clients.popitem(last=False)

    @property
    def clients(self) -> frozenset[str]:
        """The clients in the list."""
        return frozenset(self._clients)


def fill_list(testbed: Testbed) -> FullList:
    """Fill a client's list, let the client send another request, and add more entries; raises SuiteError.

    The list is read after each step.
    """
    client, nodes = testbed.client, testbed.nodes
    node = client.node
    size = _size(testbed, node)
    service, since = testbed.services.create(ServiceRequest("full", CLIENT_IP)), time.monotonic()
    network = ipaddress.ip_network(UNUSED_RANGES[service.family])
    others = [str(network[number]) for number in range(1, 2 * size + 1)]
    model = LeastRecentlySet(size)
    reads: list[ListRead] = []

    def read(step: str) -> None:
        addresses = (entry.address for entry in nodes.read_one(node).lists[chain].entries)
        reads.append(ListRead(step, model.clients, frozenset(addresses)))

    def write(step: str, *addresses: str) -> None:
        _write(testbed, node, *((chain, xt_recent.add(address)) for address in addresses))
        model.set(*addresses)
        read(step)

    try:
        testbed.wait_for_client_sync(service, since=since)
        pod = client.request(target(service)).only_endpoint
        endpoint_by_chain = iptables_expected.endpoint_chains(service)
        chain = next(name for name, endpoint in endpoint_by_chain.items() if endpoint.pod == pod)
        model.set(client.address)
        write(f"{size - 1} other addresses set", *others[: size - 1])
        client.request(target(service))
        model.set(client.address)
        write("the client sent another request, one more address set", others[size - 1])
        write(f"{size - 2} more addresses set", *others[size : 2 * size - 2])
        write("one more address set", others[2 * size - 2])
    finally:
        testbed.services.delete(service)
    return FullList(service, node, client.address, size, tuple(reads))


def write_expiring_entry(testbed: Testbed) -> ExpiringEntry:
    """Create a Service with a short timeout, and write an entry of the client to its first list; raises SuiteError."""
    client = testbed.client
    service, since = testbed.services.create(ServiceRequest("return", CLIENT_IP, SHORT_SECONDS)), time.monotonic()
    network = ipaddress.ip_network(UNUSED_RANGES[service.family])
    chain, *_ = iptables_expected.endpoint_chains(service)
    testbed.wait_for_client_sync(service, since=since)
    older = (str(network[number]) for number in range(1, OLDER + 1))
    _write(testbed, client.node, *((chain, xt_recent.add(address)) for address in (*older, client.address)))
    return ExpiringEntry(service, chain)


def return_client(testbed: Testbed, expiring: ExpiringEntry) -> ReturningClient:
    """When a client's entry has expired, bind it to another endpoint, and raise the timeout; raises SuiteError."""
    client, nodes = testbed.client, testbed.nodes
    node, hz = client.node, nodes.hz(client.node)
    service = expiring.service
    endpoint_by_chain = iptables_expected.endpoint_chains(service)
    *_, (last, later) = endpoint_by_chain.items()
    try:

        def has_expired() -> bool:
            state = nodes.read_one(node)
            entry = state.lists[expiring.chain].entry(client.address)
            return entry is not None and not entry.is_live(state.clock(hz), SHORT_SECONDS)

        wait_until(
            has_expired,
            testbed.deadlines.short_timeout,
            what=f"an entry of {SHORT_SECONDS} s in list {expiring.chain} on {node} to expire",
        )
        _write(testbed, node, (last, xt_recent.add(client.address)))
        bound = client.request(target(service), count=3)
        since = time.monotonic()
        (raised,) = testbed.services.patch_timeouts([service], DEFAULT_TIMEOUT)
        testbed.wait_for_client_sync(raised, since=since)
        earlier = endpoint_by_chain[expiring.chain]
        return ReturningClient(raised, earlier, later, bound, client.request(target(service), count=3))
    finally:
        testbed.services.delete(service)


def _size(testbed: Testbed, node: str) -> int:
    size = testbed.nodes.run(node, ("cat", SIZE_FILE)).check().stdout.strip()
    if not size.isdigit():
        raise NodeError(
            f"{node}: {SIZE_FILE} contains {size!r}, which is no number",
            next_step="check that the kernel module xt_recent is loaded there",
        )
    return int(size)


def _write(testbed: Testbed, node: str, *writes: tuple[str, str]) -> None:
    testbed.nodes.run(node, xt_recent.write_argv(*writes)).check()
