"""Ways to a Service from inside: several ports, datagrams, clients on a node's network, and traffic kept close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.cluster_objects.services import target
from session_affinity.experiment import PORTS_FALSE_ALARM, PROTOCOLS_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target
from session_affinity.traffic.datagrams import Round
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_answered_by,
    judge_bound_apart,
    judge_dropped,
    judge_each_way,
    judge_flows,
    judge_remembered,
)
from session_affinity.verdicts.rules import judge_aspects
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.datagrams import DatagramServices
    from fixtures.paths import NodeWaits, PathClients, PathServices
    from fixtures.zones import ZonedServices
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.paths]

REQUESTS = 20
SELF_REQUESTS = 5
FLOWS_PAUSE = 1.5
"""How long datagrams wait for a timeout of 1 s to be over."""
ZONE_REQUESTS = 40


@claim(
    "C42",
    "A client on a node's network is remembered under the node's address",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_client_on_a_nodes_network_is_remembered_under_the_nodes_address(
    host_network_client: Client, nodes: Nodes, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A client on a node's network is remembered under the node's address, by its own node alone.

    Preconditions: a Service with ClientIP over three ready endpoints; a pod on the network of a worker node.
    Steps: 20 requests to the cluster IP; read what every node remembers.
    Expected: one endpoint answers; the client's node remembers the address that its connections have, and no other.
    """
    service = path_services.plain
    path_services.sync.require(host_network_client.node)
    at = target(service)
    answers = host_network_client.request(at, count=REQUESTS)
    states = nodes.read()

    asked = PathRequests(service, host_network_client.pod, {at: "to the cluster IP"}, answers)
    verdict = combine(
        judge_each_way(asked),
        judge_remembered(testbed.backend, asked, {at: host_network_client.node}, states),
    )

    check(verdict)


@claim(
    "C43",
    "A pod reaches itself through the Service",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_a_pod_reaches_itself_through_the_service(
    path_clients: PathClients, path_services: PathServices, node_waits: NodeWaits, check: Check
) -> None:
    """A pod reaches itself through the Service.

    Preconditions: a Service with ClientIP whose only endpoint is a pod that is a client as well.
    Steps: 5 requests of that pod to the cluster IP.
    Expected: it answers all of them itself.
    """
    client, service = path_clients.pod, path_services.loop
    node_waits.at_client(path_services.sync, client)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)

    verdict = judge_answered_by(PathRequests(service, client.pod, {at: "to itself"}, answers), {at: [client.pod]})

    check(verdict)


@claim(
    "C43b",
    "A pod that reaches itself is remembered under its own address",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_pod_that_reaches_itself_is_remembered_under_its_own_address(
    path_clients: PathClients, path_services: PathServices, nodes: Nodes, testbed: Testbed, check: Check
) -> None:
    """A pod that reaches itself is remembered under its own address, although it is answered under another.

    Preconditions: a Service with ClientIP whose only endpoint is a pod that is a client as well.
    Steps: 5 requests of that pod to the cluster IP; read what every node remembers.
    Expected: the pod's node remembers the pod's address, for the pod itself, and no other.
    """
    client, service = path_clients.pod, path_services.loop
    path_services.sync.require(client.node)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)
    states = nodes.read()

    asked = PathRequests(service, client.pod, {at: "to itself"}, answers)
    verdict = judge_remembered(testbed.backend, asked, {at: client.node}, states)

    check(verdict)


@claim(
    "C46",
    "Under internalTrafficPolicy Local a client reaches its node's endpoint alone",
    promised_by=API,
    source=sources.INTERNAL_POLICY_FIELD,
)
def test_under_internal_policy_local_a_client_reaches_its_nodes_endpoint_alone(
    path_clients: PathClients, path_services: PathServices, node_waits: NodeWaits, check: Check
) -> None:
    """Under internalTrafficPolicy Local a client reaches its node's endpoint alone.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker, and a client
        beside one of them.
    Steps: 20 requests to the cluster IP.
    Expected: all answered by endpoints of the client's node.
    """
    client, service = path_clients.pod, path_services.inner
    node_waits.at_client(path_services.sync, client)
    at = target(service)
    answers = client.request(at, count=REQUESTS)

    own = [one.pod for one in service.endpoints if one.node == client.node]
    asked = PathRequests(service, client.pod, {at: f"on {client.node}"}, answers)
    verdict = judge_answered_by(asked, {at: own})

    check(verdict)


@claim(
    "C46b",
    "Under internalTrafficPolicy Local a node without an endpoint drops",
    promised_by=API,
    source=sources.INTERNAL_POLICY_FIELD,
)
def test_under_internal_policy_local_a_node_without_an_endpoint_drops(
    client: Client, path_services: PathServices, check: Check
) -> None:
    """Under internalTrafficPolicy Local a node without an endpoint drops what its clients send.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; a client on a node without an endpoint.
    Steps: a request to the cluster IP.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    service = path_services.inner
    path_services.sync.require(client.node)
    if client.node in {one.node for one in service.endpoints}:
        pytest.skip(f"the client's node {client.node} has an endpoint")
    at = target(service)
    answers = client.impatient.request(at)

    verdict = judge_dropped(PathRequests(service, client.pod, {at: f"on {client.node}"}, answers))

    check(verdict)


@claim(
    "C46c",
    "Under internalTrafficPolicy Local a node asks for its own endpoints alone",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_under_internal_policy_local_a_node_asks_for_its_own_endpoints_alone(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """Under internalTrafficPolicy Local a node asks for its own endpoints alone.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the cluster IP leads to a chain of the node's own
        endpoint, and on the node without one nowhere.
    """
    service = path_services.inner
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C47",
    "With trafficDistribution a client keeps to the endpoints of its zone",
    promised_by=API,
    source=sources.TRAFFIC_DISTRIBUTION_FIELD,
)
def test_with_traffic_distribution_a_client_keeps_to_the_endpoints_of_its_zone(
    client: Client, zoned_services: ZonedServices, check: Check
) -> None:
    """With trafficDistribution a client keeps to the endpoints of its zone.

    Preconditions: nodes in two zones; Services with trafficDistribution, with ClientIP and without affinity, that have
        endpoints in the client's zone and out of it.
    Steps: 40 requests to each.
    Expected: all answered by endpoints of the client's zone, and under ClientIP by one. That not one of 40 requests
        without affinity leaves the zone although the zone is not heeded has probability (2/3) ** 40.
    """
    sticky, plain = zoned_services.sticky, zoned_services.plain
    zoned_services.sync.require(client.node)
    answers = client.request(target(sticky), target(plain), count=ZONE_REQUESTS)

    near = zoned_services.in_zone(client.node)
    ways = {service: {target(service): f"to {service.name}"} for service in (sticky, plain)}
    asked = {service: PathRequests(service, client.pod, way, answers.of(*way)) for service, way in ways.items()}
    verdict = combine(
        judge_each_way(asked[sticky]),
        judge_answered_by(asked[sticky], dict.fromkeys(ways[sticky], near)),
        judge_answered_by(asked[plain], dict.fromkeys(ways[plain], near)),
    )

    check(verdict)


@claim(
    "C47b",
    "With trafficDistribution a node asks for the endpoints of its zone alone",
    promised_by=KUBE_PROXY,
    source=sources.CATEGORIZE_ENDPOINTS,
    modes=BOTH_MODES,
)
def test_with_traffic_distribution_a_node_asks_for_the_endpoints_of_its_zone_alone(
    zoned_services: ZonedServices, check: Check
) -> None:
    """With trafficDistribution a node asks for the endpoints of its zone alone.

    Preconditions: nodes in two zones; a Service with ClientIP and trafficDistribution, with endpoints in both.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: each node asks for and balances over the endpoints
        that are hinted for its zone, and has no chain of any other.
    """
    service = zoned_services.sticky
    differences = zoned_services.testbed.read(service)

    verdict = judge_aspects(service, differences, zoned_services.sync.waited)

    check(verdict)


@claim(
    "C36",
    "Each port of a Service binds a client on its own",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    false_alarm=PORTS_FALSE_ALARM,
)
def test_each_port_of_a_service_binds_a_client_on_its_own(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """Each port of a Service binds a client on its own.

    Preconditions: a Service with ClientIP and 18 ports over the same three endpoints; a client that never asked it.
    Steps: 3 requests to each port.
    Expected: on each port one endpoint answers, and not the same on all; all being the same by chance has probability
        3 ** -17.
    """
    service = datagram_services.both
    ways = _ports(service, "TCP")
    answers = client.request(*ways, count=3)

    asked = PathRequests(service, client.pod, ways, answers)
    first, *others = (asked.on(at).only_endpoint for at in ways)
    pairs = [(first, other) for other in others]
    verdict = combine(
        judge_each_way(asked),
        judge_bound_apart(service, client.pod, pairs, "ports and the first"),
    )

    check(verdict)


@claim(
    "C36b",
    "TCP and UDP of one port bind a client on their own",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    false_alarm=PROTOCOLS_FALSE_ALARM,
)
def test_tcp_and_udp_of_one_port_bind_a_client_on_their_own(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """TCP and UDP of one port bind a client on their own.

    Preconditions: a Service with ClientIP and 18 port numbers, each over TCP and UDP, over the same three endpoints.
    Steps: 2 requests and 2 datagrams to each port number, on connections and sockets of their own.
    Expected: on each port and protocol one endpoint answers, and for some number not the same over both protocols; all
        being the same by chance has probability 3 ** -18.
    """
    service = datagram_services.both
    tcp, udp = _ports(service, "TCP"), _ports(service, "UDP")
    requests = client.request(*tcp, count=2)
    (datagrams,) = client.exchange(Round(tuple(udp), count=2))

    over_tcp = PathRequests(service, client.pod, tcp, requests)
    over_udp = PathRequests(service, client.pod, udp, datagrams)
    pairs = [(over_tcp.on(at).only_endpoint, over_udp.on(at).only_endpoint) for at in tcp]
    verdict = combine(
        judge_each_way(over_tcp),
        judge_each_way(over_udp),
        judge_bound_apart(service, client.pod, pairs, "pairs of TCP and UDP"),
    )

    check(verdict)


@claim(
    "C44",
    "Datagrams of new flows keep to one endpoint",
    promised_by=API,
    source=sources.FIELD,
)
def test_datagrams_of_new_flows_keep_to_one_endpoint(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """Datagrams of new flows keep to one endpoint.

    Preconditions: a Service with ClientIP over three ready endpoints that answer datagrams.
    Steps: 3 datagrams to each of 18 ports, each from a socket of its own, which has a port of its own.
    Expected: on each port one endpoint answers all.
    """
    service = datagram_services.both
    ways = _ports(service, "UDP")
    (answers,) = client.exchange(Round(tuple(ways), count=3))

    verdict = judge_each_way(PathRequests(service, client.pod, ways, answers))

    check(verdict)


@claim(
    "C44b",
    "Datagrams of one flow stay where it began, and do not renew the timeout",
    promised_by=KUBE_PROXY,
    source=sources.NF_NAT,
    false_alarm=PROTOCOLS_FALSE_ALARM,
)
def test_datagrams_of_one_flow_stay_and_do_not_renew_the_timeout(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """Datagrams of one flow stay where it began, and do not renew the timeout: connection tracking answers for them.

    Preconditions: a Service with ClientIP, a timeout of 1 s and 18 ports over three ready endpoints that answer
        datagrams.
    Steps: a datagram to each port; 1.5 s later another one from the same socket; right after that one from a new
        socket.
    Expected: every socket is answered by the same endpoint both times; on some port the new socket is answered by
        another; all staying by chance has probability 3 ** -18.
    """
    service = datagram_services.brief
    ways = _ports(service, "UDP")
    to = tuple(ways)
    rounds = (
        Round(to, kept=True, name="first datagram of each flow"),
        Round(to, kept=True, pause=FLOWS_PAUSE, name="later datagram of each flow"),
        Round(to, name="first datagram of a new flow"),
    )
    first, later, new = client.exchange(*rounds)
    verdict = judge_flows(PathRequests(service, client.pod, ways, first), later, new)

    check(verdict)


def _ports(service: ServiceState, protocol: str) -> dict[Target, str]:
    """Return a Service's ports of one protocol, with what each is called."""
    address = service.cluster_ips[0]
    return {Target(address, one.port): f"to {one.port}/{protocol}" for one in service.ports if one.protocol == protocol}
