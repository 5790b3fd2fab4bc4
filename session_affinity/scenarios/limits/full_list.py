"""What iptables mode does at its limits: a list that is full, and an entry that is found valid again."""

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

STRANGERS: Final[dict[Family, str]] = {"IPv4": "198.18.0.0/15", "IPv6": "2001:db8::/64"}
"""Ranges for benchmarks and documentation: addresses that no client of a cluster has."""
SIZE: Final = "/sys/module/xt_recent/parameters/ip_list_tot"
SHORT_SECONDS: Final = 2
OLDER: Final = 20
"""Entries that are older than the client's: each look for an expired client takes one such away."""


@dataclass(frozen=True)
class Filling:
    """A list after some writes: what was done, the addresses it should hold, and those it does."""

    did: str
    expected: frozenset[str]
    seen: frozenset[str]


@dataclass(frozen=True)
class FullList:
    """A list of ``size`` clients that was filled and filled again, beside a client that asked twice."""

    service: ServiceState
    node: str
    client: str
    size: int
    fillings: tuple[Filling, ...]


@dataclass(frozen=True)
class Return:
    """A client that left an endpoint as its timeout was over, and whose Service then got a longer timeout.

    ``bound`` are its answers before that, from the endpoint ``later``; ``raised`` those after it.
    """

    service: ServiceState
    earlier: Endpoint
    later: Endpoint
    bound: Answers
    raised: Answers


class LeastRecentlySet:
    """Which clients a list of a size holds: who is set when it is full takes the place of who was not for longest."""

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
        """Those that are held."""
        return frozenset(self._clients)


def fill_list(testbed: Testbed) -> FullList:
    """Have a client ask a Service, fill its list, have it ask again, and fill on; raises SuiteError."""
    client, nodes = testbed.client, testbed.nodes
    node = client.node
    size = _size(testbed, node)
    service, since = testbed.services.create(ServiceRequest("full", CLIENT_IP)), time.monotonic()
    network = ipaddress.ip_network(STRANGERS[service.family])
    strangers = [str(network[number]) for number in range(1, 2 * size + 1)]
    listed = LeastRecentlySet(size)
    fillings: list[Filling] = []

    def look(did: str) -> None:
        seen = (entry.address for entry in nodes.read_one(node).lists[chain].entries)
        fillings.append(Filling(did, listed.clients, frozenset(seen)))

    def write(did: str, *addresses: str) -> None:
        _write(testbed, node, *((chain, xt_recent.add(one)) for one in addresses))
        listed.set(*addresses)
        look(did)

    try:
        testbed.wait_for_client_sync(service, since=since)
        answered = client.request(target(service)).only_endpoint
        chain = next(name for name, one in iptables_expected.endpoint_chains(service).items() if one.pod == answered)
        listed.set(client.address)
        write(f"{size - 1} others set", *strangers[: size - 1])
        client.request(target(service))
        listed.set(client.address)
        write("the client asked again, another one set", strangers[size - 1])
        write(f"{size - 2} more set", *strangers[size : 2 * size - 2])
        write("one more set", strangers[2 * size - 2])
    finally:
        testbed.services.delete(service)
    return FullList(service, node, client.address, size, tuple(fillings))


def come_back(testbed: Testbed) -> Return:
    """Have a client's time at an endpoint run out, bind it to another, and raise the timeout; raises SuiteError."""
    client, nodes = testbed.client, testbed.nodes
    node, hz = client.node, nodes.hz(client.node)
    service, since = testbed.services.create(ServiceRequest("return", CLIENT_IP, SHORT_SECONDS)), time.monotonic()
    network = ipaddress.ip_network(STRANGERS[service.family])
    (first, earlier), *_, (last, later) = iptables_expected.endpoint_chains(service).items()
    try:
        testbed.wait_for_client_sync(service, since=since)
        _write(
            testbed,
            node,
            *((first, xt_recent.add(str(network[number]))) for number in range(1, OLDER + 1)),
            (first, xt_recent.add(client.address)),
        )

        def is_over() -> bool:
            state = nodes.read_one(node)
            entry = state.lists[first].entry(client.address)
            return entry is not None and not entry.is_live(state.clock(hz), SHORT_SECONDS)

        wait_until(
            is_over,
            testbed.deadlines.short_timeout,
            what=f"an entry of {SHORT_SECONDS} s in list {first} on {node} to expire",
        )
        _write(testbed, node, (last, xt_recent.add(client.address)))
        bound = client.request(target(service), count=3)
        since = time.monotonic()
        (raised,) = testbed.services.patch_timeouts([service], DEFAULT_TIMEOUT)
        testbed.wait_for_client_sync(raised, since=since)
        return Return(raised, earlier, later, bound, client.request(target(service), count=3))
    finally:
        testbed.services.delete(service)


def _size(testbed: Testbed, node: str) -> int:
    said = testbed.nodes.run(node, ("cat", SIZE)).check().stdout.strip()
    if not said.isdigit():
        raise NodeError(f"{node}: {SIZE} says {said!r}")
    return int(said)


def _write(testbed: Testbed, node: str, *writes: tuple[str, str]) -> None:
    testbed.nodes.run(node, xt_recent.write_argv(*writes)).check()
