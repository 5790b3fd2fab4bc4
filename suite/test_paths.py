"""Ways to a Service from inside: several ports, datagrams, clients on a node's network, and traffic kept close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.cluster_objects.services import target
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target
from session_affinity.traffic.datagrams import Round
from session_affinity.verdicts.paths import (
    Asked,
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
    from fixtures.paths import Arrivals, OwnClients, PathServices
    from fixtures.zones import ZonedServices
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.evidence import Evidence
    from session_affinity.testbed.testbed import Programming
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.paths]

REQUESTS = 20
SELF_REQUESTS = 5
FLOWS_PAUSE = 1.5
"""How long datagrams wait for a timeout of 1 s to be over."""
ZONE_REQUESTS = 40


@claim("C42")
def test_a_client_on_a_nodes_network_is_remembered_under_the_nodes_address(
    host_client: Client, nodes: Nodes, path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """A client on a node's network is remembered under the node's address, by its own node alone.

    Preconditions: a Service with ClientIP over three ready endpoints; a pod on the network of a worker node.
    Steps: 20 requests to the cluster IP; read what every node remembers.
    Expected: one endpoint answers; the client's node remembers the address that its connections have, and no other.
    """
    service = path_services.plain
    path_services.settled.require(host_client.node)
    at = target(service)
    answers = host_client.request(at, count=REQUESTS)
    evidence.answers("answers", answers)
    states = nodes.read()

    asked = Asked(service, host_client.pod, {at: "to the cluster IP"}, answers)
    verdict = combine(
        "C42",
        judge_each_way("C42", asked),
        judge_remembered("C42", programming.dataplane, asked, {at: host_client.node}, states),
    )

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C43")
def test_a_pod_reaches_itself_through_the_service(
    own_clients: OwnClients, path_services: PathServices, arrivals: Arrivals, evidence: Evidence
) -> None:
    """A pod reaches itself through the Service.

    Preconditions: a Service with ClientIP whose only endpoint is a pod that is a client as well.
    Steps: 5 requests of that pod to the cluster IP.
    Expected: it answers all of them itself.
    """
    client, service = own_clients.pod, path_services.loop
    arrivals.at_client(path_services.settled, client)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)
    evidence.answers("answers", answers)

    verdict = judge_answered_by("C43", Asked(service, client.pod, {at: "to itself"}, answers), {at: [client.pod]})

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C43b")
def test_a_pod_that_reaches_itself_is_remembered_under_its_own_address(
    own_clients: OwnClients, path_services: PathServices, nodes: Nodes, programming: Programming, evidence: Evidence
) -> None:
    """A pod that reaches itself is remembered under its own address, although it is answered under another.

    Preconditions: a Service with ClientIP whose only endpoint is a pod that is a client as well.
    Steps: 5 requests of that pod to the cluster IP; read what every node remembers.
    Expected: the pod's node remembers the pod's address, for the pod itself, and no other.
    """
    client, service = own_clients.pod, path_services.loop
    path_services.settled.require(client.node)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)
    evidence.answers("answers", answers)
    states = nodes.read()

    asked = Asked(service, client.pod, {at: "to itself"}, answers)
    verdict = judge_remembered("C43b", programming.dataplane, asked, {at: client.node}, states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C46")
def test_under_internal_policy_local_a_client_reaches_its_nodes_endpoint_alone(
    own_clients: OwnClients, path_services: PathServices, arrivals: Arrivals, evidence: Evidence
) -> None:
    """Under internalTrafficPolicy Local a client reaches its node's endpoint alone.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker, and a client
        beside one of them.
    Steps: 20 requests to the cluster IP.
    Expected: all answered by endpoints of the client's node.
    """
    client, service = own_clients.pod, path_services.inner
    arrivals.at_client(path_services.settled, client)
    at = target(service)
    answers = client.request(at, count=REQUESTS)
    evidence.answers("answers", answers)

    own = [one.pod for one in service.endpoints if one.node == client.node]
    asked = Asked(service, client.pod, {at: f"on {client.node}"}, answers)
    verdict = judge_answered_by("C46", asked, {at: own})

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C46b")
def test_under_internal_policy_local_a_node_without_an_endpoint_drops(
    client: Client, path_services: PathServices, evidence: Evidence
) -> None:
    """Under internalTrafficPolicy Local a node without an endpoint drops what its clients send.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; a client on a node without an endpoint.
    Steps: a request to the cluster IP.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    service = path_services.inner
    path_services.settled.require(client.node)
    if client.node in {one.node for one in service.endpoints}:
        pytest.skip(f"the client's node {client.node} has an endpoint")
    at = target(service)
    answers = client.impatient.request(at)

    verdict = judge_dropped("C46b", Asked(service, client.pod, {at: f"on {client.node}"}, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C46c")
def test_under_internal_policy_local_a_node_asks_for_its_own_endpoints_alone(
    path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """Under internalTrafficPolicy Local a node asks for its own endpoints alone.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the cluster IP leads to a chain of the node's own
        endpoint, and on the node without one nowhere.
    """
    service = path_services.inner
    differences = programming.read(service)

    verdict = judge_aspects("C46c", service, differences, path_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C47")
def test_with_traffic_distribution_a_client_keeps_to_the_endpoints_of_its_zone(
    client: Client, zoned_services: ZonedServices, evidence: Evidence
) -> None:
    """With trafficDistribution a client keeps to the endpoints of its zone.

    Preconditions: nodes in two zones; Services with trafficDistribution, with ClientIP and without affinity, that have
        endpoints in the client's zone and out of it.
    Steps: 40 requests to each.
    Expected: all answered by endpoints of the client's zone, and under ClientIP by one. That not one of 40 requests
        without affinity leaves the zone although the zone is not heeded has probability (2/3) ** 40.
    """
    sticky, plain = zoned_services.sticky, zoned_services.plain
    zoned_services.settled.require(client.node)
    answers = client.request(target(sticky), target(plain), count=ZONE_REQUESTS)
    evidence.answers("answers", answers)

    near = zoned_services.in_zone(client.node)
    ways = {service: {target(service): f"to {service.name}"} for service in (sticky, plain)}
    asked = {service: Asked(service, client.pod, way, answers.of(*way)) for service, way in ways.items()}
    verdict = combine(
        "C47",
        judge_each_way("C47", asked[sticky]),
        judge_answered_by("C47", asked[sticky], dict.fromkeys(ways[sticky], near)),
        judge_answered_by("C47", asked[plain], dict.fromkeys(ways[plain], near)),
    )

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C47b")
def test_with_traffic_distribution_a_node_asks_for_the_endpoints_of_its_zone_alone(
    zoned_services: ZonedServices, evidence: Evidence
) -> None:
    """With trafficDistribution a node asks for the endpoints of its zone alone.

    Preconditions: nodes in two zones; a Service with ClientIP and trafficDistribution, with endpoints in both.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: each node asks for and balances over the endpoints
        that are hinted for its zone, and has no chain of any other.
    """
    service = zoned_services.sticky
    differences = zoned_services.programming.read(service)

    verdict = judge_aspects("C47b", service, differences, zoned_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C36")
def test_each_port_of_a_service_binds_a_client_on_its_own(
    client: Client, datagram_services: DatagramServices, evidence: Evidence
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
    evidence.answers("answers", answers)

    asked = Asked(service, client.pod, ways, answers)
    first, *others = (asked.on(at).only_endpoint for at in ways)
    pairs = [(first, other) for other in others]
    verdict = combine(
        "C36",
        judge_each_way("C36", asked),
        judge_bound_apart("C36", service, client.pod, pairs, "ports and the first"),
    )

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C36b")
def test_tcp_and_udp_of_one_port_bind_a_client_on_their_own(
    client: Client, datagram_services: DatagramServices, evidence: Evidence
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
    evidence.answers("answers over TCP", requests)
    evidence.answers("answers over UDP", datagrams)

    over_tcp = Asked(service, client.pod, tcp, requests)
    over_udp = Asked(service, client.pod, udp, datagrams)
    pairs = [(over_tcp.on(at).only_endpoint, over_udp.on(at).only_endpoint) for at in tcp]
    verdict = combine(
        "C36b",
        judge_each_way("C36b", over_tcp),
        judge_each_way("C36b", over_udp),
        judge_bound_apart("C36b", service, client.pod, pairs, "pairs of TCP and UDP"),
    )

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C44")
def test_datagrams_of_new_flows_keep_to_one_endpoint(
    client: Client, datagram_services: DatagramServices, evidence: Evidence
) -> None:
    """Datagrams of new flows keep to one endpoint.

    Preconditions: a Service with ClientIP over three ready endpoints that answer datagrams.
    Steps: 3 datagrams to each of 18 ports, each from a socket of its own, which has a port of its own.
    Expected: on each port one endpoint answers all.
    """
    service = datagram_services.both
    ways = _ports(service, "UDP")
    (answers,) = client.exchange(Round(tuple(ways), count=3))
    evidence.answers("answers", answers)

    verdict = judge_each_way("C44", Asked(service, client.pod, ways, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C44b")
def test_datagrams_of_one_flow_stay_and_do_not_renew_the_timeout(
    client: Client, datagram_services: DatagramServices, evidence: Evidence
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
    rounds = (Round(to, kept=True), Round(to, kept=True, pause=FLOWS_PAUSE), Round(to))
    first, later, new = client.exchange(*rounds)
    for name, answers in (("first of a flow", first), ("later of the flow", later), ("first of a new flow", new)):
        evidence.answers(name, answers)

    verdict = judge_flows("C44b", Asked(service, client.pod, ways, first), later, new)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


def _ports(service: ServiceState, protocol: str) -> dict[Target, str]:
    """Return a Service's ports of one protocol, with what each is called."""
    address = service.cluster_ips[0]
    return {Target(address, one.port): f"to {one.port}/{protocol}" for one in service.ports if one.protocol == protocol}
