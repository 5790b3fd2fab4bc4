"""Traffic paths inside the cluster: ports and protocols, hostNetwork and hairpin clients, internal policy, zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.claims.known_behaviour import IPVS_SHORT_TIMEOUTS
from session_affinity.experiment import PORTS_FALSE_ALARM, PROTOCOLS_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target, target
from session_affinity.traffic.datagrams import Round
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_allowed_endpoints,
    judge_dropped_requests,
    judge_entries_by_node,
    judge_flows,
    judge_one_endpoint_per_path,
    judge_separate_bindings,
    judge_unanswered_requests,
)
from session_affinity.verdicts.rules import judge_aspects, judge_sync
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
"""Seconds between datagrams, so that a timeout of 1 s has passed."""
ZONE_REQUESTS = 40


@claim(
    "C42",
    "A hostNetwork client has its affinity entry under the node's address, on its own node only",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_host_network_client_has_its_entry_under_the_nodes_address(
    host_network_client: Client, nodes: Nodes, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """All hostNetwork pods of a node share its address: they are one client, and are bound to one endpoint together.

    Preconditions: a Service with ClientIP over three ready endpoints; a hostNetwork pod on a worker node.
    Steps: 20 requests to the cluster IP; read the affinity entries of every node.
    Expected: one endpoint answers; the client's node has one entry, with the source address of the client's
        connections; no other node has any.
    """
    service = path_services.cluster_ip
    path_services.sync.require(host_network_client.node)
    at = target(service)
    answers = host_network_client.request(at, count=REQUESTS)
    states = nodes.read()

    requests = PathRequests(service, host_network_client.id, {at: "to the cluster IP"}, answers)
    verdict = combine(
        judge_one_endpoint_per_path(requests),
        judge_entries_by_node(testbed.backend, requests, {at: host_network_client.node}, states),
    )

    check(verdict)


@claim(
    "C43",
    "A pod reaches itself through its Service (hairpin)",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_a_pod_reaches_itself_through_its_service(
    path_clients: PathClients, path_services: PathServices, wait_for_nodes: NodeWaits, check: Check
) -> None:
    """A pod that calls its own Service hangs where hairpin traffic is not masqueraded.

    Preconditions: a Service with ClientIP whose only endpoint is the client pod itself.
    Steps: 5 requests of that pod to the cluster IP.
    Expected: the pod itself answers all of them.
    """
    client, service = path_clients.pod, path_services.hairpin
    wait_for_nodes.of_clients(path_services.sync, client)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)

    verdict = judge_allowed_endpoints(PathRequests(service, client.id, {at: "to itself"}, answers), {at: [client.pod]})

    check(verdict)


@claim(
    "C43b",
    "A pod that reaches itself has its affinity entry under its own address",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_pod_that_reaches_itself_has_its_entry_under_its_own_address(
    path_clients: PathClients, path_services: PathServices, nodes: Nodes, testbed: Testbed, check: Check
) -> None:
    """Hairpin traffic is masqueraded; an entry under that address would mix the pod with clients of the node.

    Preconditions: a Service with ClientIP whose only endpoint is the client pod itself.
    Steps: 5 requests of that pod to the cluster IP; read the affinity entries of every node.
    Expected: the pod's node has one entry, with the pod's own address and for the pod itself, although the pod sees a
        masqueraded address; no other node has any.
    """
    client, service = path_clients.pod, path_services.hairpin
    path_services.sync.require(client.node)
    at = target(service)
    answers = client.request(at, count=SELF_REQUESTS)
    states = nodes.read()

    requests = PathRequests(service, client.id, {at: "to itself"}, answers)
    verdict = judge_entries_by_node(testbed.backend, requests, {at: client.node}, states)

    check(verdict)


@claim(
    "C46",
    "With internalTrafficPolicy Local a client reaches only endpoints of its own node",
    promised_by=API,
    source=sources.INTERNAL_POLICY_FIELD,
)
def test_with_internal_policy_local_a_client_reaches_only_endpoints_of_its_own_node(
    path_clients: PathClients, path_services: PathServices, wait_for_nodes: NodeWaits, check: Check
) -> None:
    """Node-local agents depend on it: their data is that of the client's node, and affinity must not lead elsewhere.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker; a client on the
        node of one of them.
    Steps: 20 requests to the cluster IP.
    Expected: all are answered by endpoints of the client's node.
    """
    client, service = path_clients.pod, path_services.internal_local
    wait_for_nodes.of_clients(path_services.sync, client)
    at = target(service)
    answers = client.request(at, count=REQUESTS)

    local_pods = [endpoint.pod for endpoint in service.endpoints if endpoint.node == client.node]
    requests = PathRequests(service, client.id, {at: f"on {client.node}"}, answers)
    verdict = judge_allowed_endpoints(requests, {at: local_pods})

    check(verdict)


@claim(
    "C46b",
    "With internalTrafficPolicy Local no endpoint of another node answers a client",
    promised_by=API,
    source=sources.INTERNAL_POLICY_FIELD,
)
def test_with_internal_policy_local_no_endpoint_of_another_node_answers(
    client_without_local_endpoint: Client, path_services: PathServices, wait_for_nodes: NodeWaits, check: Check
) -> None:
    """Control for C46: traffic must not leave the node when there is no endpoint.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; a client on a node without an endpoint.
    Steps: one request to the cluster IP.
    Expected: no endpoint answers; whether the request is refused or nothing comes back does not matter.
    """
    client, service = client_without_local_endpoint, path_services.internal_local
    wait_for_nodes.of_clients(path_services.sync, client)
    at = target(service)
    answers = client.with_short_timeouts.request(at)

    verdict = judge_unanswered_requests(PathRequests(service, client.id, {at: f"on {client.node}"}, answers))

    check(verdict)


@claim(
    "C46d",
    "With internalTrafficPolicy Local a node without endpoints drops its clients' requests",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_with_internal_policy_local_a_node_without_endpoints_drops_requests(
    client_without_local_endpoint: Client, path_services: PathServices, check: Check
) -> None:
    """A client of such a node waits until its own timeout instead of being refused at once.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; a client on a node without an endpoint.
    Steps: one request to the cluster IP.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    client, service = client_without_local_endpoint, path_services.internal_local
    path_services.sync.require(client.node)
    at = target(service)
    answers = client.with_short_timeouts.request(at)

    verdict = judge_dropped_requests(PathRequests(service, client.id, {at: f"on {client.node}"}, answers))

    check(verdict)


@claim(
    "C46c",
    "With internalTrafficPolicy Local a node's affinity rules cover only its own endpoints",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_with_internal_policy_local_a_nodes_affinity_rules_cover_only_its_own_endpoints(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A rule for another node's endpoint would break the policy for the clients that are bound by it.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the cluster IP leads to a chain with the node's own
        endpoint, and to none on the node without endpoints.
    """
    service = path_services.internal_local
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C47",
    "With trafficDistribution a client reaches only endpoints of its zone",
    promised_by=KUBE_PROXY,
    source=sources.TRAFFIC_DISTRIBUTION_FIELD,
)
def test_with_traffic_distribution_a_client_reaches_only_endpoints_of_its_zone(
    client: Client, zoned_services: ZonedServices, check: Check
) -> None:
    """Traffic between zones costs money and latency; affinity must not bind a client to an endpoint of another zone.

    The API calls the field a hint, whose strict adherence implementations are not required to guarantee.

    Preconditions: nodes in two zones; Services with trafficDistribution, one with ClientIP and one without affinity,
        with endpoints inside and outside the client's zone.
    Steps: 40 requests to each.
    Expected: all are answered by endpoints of the client's zone, under ClientIP by one of them. (A dataplane that
        ignores zones passes without affinity with probability (2/3) ** 40.)
    """
    sticky, plain = zoned_services.sticky, zoned_services.plain
    zoned_services.sync.require(client.node)
    answers = client.request(target(sticky), target(plain), count=ZONE_REQUESTS)

    zone_pods = zoned_services.in_zone(client.node)
    sticky_requests, plain_requests = (
        PathRequests(service, client.id, {target(service): f"to {service.name}"}, answers.of(target(service)))
        for service in (sticky, plain)
    )
    verdict = combine(
        judge_one_endpoint_per_path(sticky_requests),
        judge_allowed_endpoints(sticky_requests, {target(sticky): zone_pods}),
        judge_allowed_endpoints(plain_requests, {target(plain): zone_pods}),
    )

    check(verdict)


@claim(
    "C47b",
    "With trafficDistribution a node's affinity rules cover only endpoints hinted for its zone",
    promised_by=KUBE_PROXY,
    source=sources.CATEGORIZE_ENDPOINTS,
    modes=BOTH_MODES,
)
def test_with_traffic_distribution_a_nodes_affinity_rules_cover_only_its_zone(
    zoned_services: ZonedServices, check: Check
) -> None:
    """A rule for an endpoint of another zone would keep a client out of its zone for the whole timeout.

    Preconditions: nodes in two zones; a Service with ClientIP and trafficDistribution, with endpoints in both.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: each node has affinity and balancing rules for the
        endpoints hinted for its zone, and no chain of any other.
    """
    service = zoned_services.sticky
    differences = zoned_services.testbed.read(service)

    verdict = judge_aspects(service, differences, zoned_services.sync.waited)

    check(verdict)


@claim(
    "C47c",
    "A node whose zone changes uses the endpoints of its new zone",
    promised_by=KUBE_PROXY,
    source=sources.TOPOLOGY_CHANGE,
    modes=BOTH_MODES,
)
def test_a_node_whose_zone_changes_uses_the_endpoints_of_its_new_zone(
    client: Client, services_in_another_zone: ZonedServices, check: Check
) -> None:
    """Nodes get their zone late from the cloud: a kube-proxy that read its labels once sends clients out of their zone.

    Preconditions: nodes in two zones; Services with trafficDistribution, one with ClientIP and one without affinity,
        with endpoints in both; the client's node has none.
    Steps: change the label of the client's node to the other zone; read the rules of every node; 10 requests to each
        Service.
    Expected: the client's node has the rules of its new zone, the others those of theirs; all requests are answered by
        endpoints of the new zone, under ClientIP by one of them.
    """
    moved = services_in_another_zone
    answers = client.request(target(moved.sticky), target(moved.plain), count=10)

    zone_pods = moved.in_zone(client.node)
    sticky_requests, plain_requests = (
        PathRequests(service, client.id, {target(service): f"to {service.name}"}, answers.of(target(service)))
        for service in (moved.sticky, moved.plain)
    )
    verdict = combine(
        judge_sync(moved.sticky, moved.sync),
        judge_one_endpoint_per_path(sticky_requests),
        judge_allowed_endpoints(sticky_requests, {target(moved.sticky): zone_pods}),
        judge_allowed_endpoints(plain_requests, {target(moved.plain): zone_pods}),
    )

    check(verdict)


@claim(
    "C36",
    "Each port of a Service has its own affinity",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    false_alarm=PORTS_FALSE_ALARM,
)
@pytest.mark.client_node
def test_each_port_of_a_service_has_its_own_affinity(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """A client may get different pods on two ports of one Service: protocols that need one pod for both do not work.

    Preconditions: a Service with ClientIP and 18 ports over the same three endpoints; a client that has sent it no
        request.
    Steps: 3 requests to each port.
    Expected: one endpoint answers on each port, and it is not the same on all; all ports agree by chance with
        probability 3 ** -17.
    """
    service = datagram_services.tcp_and_udp
    targets = _ports(service, "TCP")
    answers = client.request(*targets, count=3)

    requests = PathRequests(service, client.id, targets, answers)
    first, *others = (requests.on(at).only_endpoint for at in targets)
    pairs = [(first, other) for other in others]
    verdict = combine(
        judge_one_endpoint_per_path(requests),
        judge_separate_bindings(service, client.id, pairs, "ports and the first"),
    )

    check(verdict)


@claim(
    "C36b",
    "TCP and UDP on one port number have separate affinity",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    false_alarm=PROTOCOLS_FALSE_ALARM,
)
@pytest.mark.client_node
def test_tcp_and_udp_on_one_port_number_have_separate_affinity(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """A client may get different pods over TCP and UDP: protocols that use both (DNS, SIP) cannot rely on one pod.

    Preconditions: a Service with ClientIP and 18 port numbers, each over TCP and UDP, over the same three endpoints.
    Steps: 2 requests and 2 datagrams to each port number, each on a connection or socket of its own.
    Expected: one endpoint answers on each port and protocol; for some port number it is not the same over both
        protocols; all agree by chance with probability 3 ** -18.
    """
    service = datagram_services.tcp_and_udp
    tcp, udp = _ports(service, "TCP"), _ports(service, "UDP")
    requests = client.request(*tcp, count=2)
    (datagrams,) = client.exchange(Round(tuple(udp), count=2))

    over_tcp = PathRequests(service, client.id, tcp, requests)
    over_udp = PathRequests(service, client.id, udp, datagrams)
    pairs = [(over_tcp.on(at).only_endpoint, over_udp.on(at).only_endpoint) for at in tcp]
    verdict = combine(
        judge_one_endpoint_per_path(over_tcp),
        judge_one_endpoint_per_path(over_udp),
        judge_separate_bindings(service, client.id, pairs, "pairs of TCP and UDP"),
    )

    check(verdict)


@claim(
    "C44",
    "New UDP flows of a client all reach one endpoint",
    promised_by=API,
    source=sources.FIELD,
)
@pytest.mark.client_node
def test_new_udp_flows_of_a_client_reach_one_endpoint(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """UDP clients that open a socket per request need affinity as TCP clients do.

    Preconditions: a Service with ClientIP over three ready endpoints that answer datagrams.
    Steps: 3 datagrams to each of 18 ports, each from a socket, and so a source port, of its own.
    Expected: on each port one endpoint answers all.
    """
    service = datagram_services.tcp_and_udp
    targets = _ports(service, "UDP")
    (answers,) = client.exchange(Round(tuple(targets), count=3))

    verdict = judge_one_endpoint_per_path(PathRequests(service, client.id, targets, answers))

    check(verdict)


@claim(
    "C44b",
    "Datagrams of one UDP flow stay on their endpoint and do not renew the timeout",
    promised_by=KUBE_PROXY,
    source=sources.NF_NAT,
    false_alarm=PROTOCOLS_FALSE_ALARM,
    known=(IPVS_SHORT_TIMEOUTS,),
)
@pytest.mark.client_node
def test_datagrams_of_one_udp_flow_stay_and_do_not_renew_the_timeout(
    client: Client, datagram_services: DatagramServices, check: Check
) -> None:
    """A busy UDP flow is kept by conntrack, not by affinity: its client may move with the next socket it opens.

    Preconditions: a Service with ClientIP, a timeout of 1 s and 18 ports over three ready endpoints that answer
        datagrams.
    Steps: a datagram to each port; 1.5 s later another one from the same socket; right after that one from a new
        socket.
    Expected: on every port the first socket is answered by the same endpoint both times; on some port the new socket is
        answered by another endpoint; all stay by chance with probability 3 ** -18.
    """
    service = datagram_services.one_second
    targets = _ports(service, "UDP")
    rounds = (
        Round(tuple(targets), keep_sockets=True, name="first datagram of each flow"),
        Round(tuple(targets), keep_sockets=True, pause=FLOWS_PAUSE, name="later datagram of each flow"),
        Round(tuple(targets), name="first datagram of a new flow"),
    )
    first, later, new = client.exchange(*rounds)
    verdict = judge_flows(PathRequests(service, client.id, targets, first), later, new)

    check(verdict)


def _ports(service: ServiceState, protocol: str) -> dict[Target, str]:
    """Return a Service's ports of one protocol as targets, with a label for each."""
    address = service.cluster_ips[0]
    numbers = [port.port for port in service.ports if port.protocol == protocol]
    return {Target(address, number): f"to {number}/{protocol}" for number in numbers}
