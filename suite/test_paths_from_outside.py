"""Traffic paths from outside the cluster: node ports, external and load balancer addresses, SNAT in front.

The client of most claims is a hostNetwork pod on a worker node: for all other nodes it is an external client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_allowed_endpoints,
    judge_dropped_requests,
    judge_entries_by_node,
    judge_one_endpoint_per_path,
    judge_translated_clients,
)
from session_affinity.verdicts.rules import judge_aspects

if TYPE_CHECKING:
    from fixtures.paths import NodeWaits, PathClients, PathServices, RemoteNodePorts, SnatService
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.node_ports import NodePortTargets
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.paths]

REQUESTS = 10


@claim(
    "C31",
    "Through each node's node port a client reaches one endpoint",
    promised_by=API,
    source=sources.NODE_PORT_FIELD,
)
def test_through_each_nodes_node_port_a_client_reaches_one_endpoint(
    client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    wait_for_nodes: NodeWaits,
    check: Check,
) -> None:
    """External clients and load balancers enter by node ports; a session breaks when a node balances each connection.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: 10 requests to the node port of each node, each on a new connection.
    Expected: all are answered; through each node by one endpoint, which may differ from node to node.
    """
    service = path_services.node_port
    wait_for_nodes.of_node_ports(path_services.sync, node_port_targets)
    targets = node_port_targets.labelled_targets(service)
    answers = client.request(*targets, count=REQUESTS)

    verdict = judge_one_endpoint_per_path(PathRequests(service, client.id, targets, answers))

    check(verdict)


@claim(
    "C31b",
    "Only the node whose node port a client uses has its affinity entry, under its original address",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_only_the_node_of_the_node_port_has_the_affinity_entry(
    host_network_client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    testbed: Testbed,
    check: Check,
) -> None:
    """Affinity is per node and decided before SNAT: clients stay apart, but another node may choose another endpoint.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints; a hostNetwork client that has
        sent it no request.
    Steps: 10 requests to the node port of each node; read the affinity entries of every node.
    Expected: each node has one entry, with the source address of the client's own connections, for the endpoint that
        answered through this node.
    """
    service = path_services.node_port_unused
    path_services.sync.require(*node_port_targets.addresses)
    targets = node_port_targets.labelled_targets(service)
    answers = host_network_client.request(*targets, count=REQUESTS)
    states = testbed.nodes.read(node_port_targets.addresses)

    requests = PathRequests(service, host_network_client.id, targets, answers)
    verdict = judge_entries_by_node(testbed.backend, requests, node_port_targets.target_to_node(service), states)

    check(verdict)


@claim(
    "C65",
    "Every node's node port leads to the Service's endpoints through its external chain",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_nodes_node_port_leads_to_the_services_endpoints(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A node whose rules are missing or wrong refuses external clients, or loses their affinity.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the node port leads to the external chain, which
        marks for masquerading and goes on to the chain with the affinity rules of every endpoint.
    """
    service = path_services.node_port
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C32",
    "With externalTrafficPolicy Local a node port answers from endpoints of its own node",
    promised_by=API,
    source=sources.EXTERNAL_POLICY_FIELD,
)
def test_with_external_policy_local_a_node_port_answers_from_its_own_node(
    host_network_client: Client, remote_node_ports: RemoteNodePorts, check: Check
) -> None:
    """The policy preserves client addresses; an affinity rule that leads to another node breaks that promise.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: 10 requests, from a client on another node's network, to the node port of each node with an endpoint.
    Expected: all are answered by an endpoint of the node whose port was used.
    """
    local_pods = remote_node_ports.with_endpoints()
    answers = host_network_client.request(*local_pods, count=REQUESTS)

    labels = remote_node_ports.labelled(local_pods)
    requests = PathRequests(remote_node_ports.service, host_network_client.id, labels, answers)
    verdict = judge_allowed_endpoints(requests, local_pods)

    check(verdict)


@claim(
    "C32b",
    "With externalTrafficPolicy Local a node without endpoints drops node port requests",
    promised_by=API,
    source=sources.EXTERNAL_POLICY_FIELD,
)
def test_with_external_policy_local_a_node_without_endpoints_drops_requests(
    host_network_client: Client, remote_node_ports: RemoteNodePorts, check: Check
) -> None:
    """Control for C32: load balancers rely on nodes without endpoints not answering for others.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; a node without an endpoint.
    Steps: one request, from a client on another node's network, to the node port of each node without an endpoint.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    targets = remote_node_ports.labelled(remote_node_ports.without_endpoints())
    answers = host_network_client.with_short_timeouts.request(*targets)

    verdict = judge_dropped_requests(PathRequests(remote_node_ports.service, host_network_client.id, targets, answers))

    check(verdict)


@claim(
    "C32c",
    "With externalTrafficPolicy Local a node's external affinity rules cover only its own endpoints",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_with_external_policy_local_a_nodes_external_rules_cover_only_its_own_endpoints(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A rule for another node's endpoint would send external clients on with another source address.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: traffic of pods and of the node itself goes to the
        chain of all endpoints, all other traffic to a chain of the node's own endpoints, which does not exist on the
        node without endpoints.
    """
    service = path_services.external_local
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C33",
    "Clients behind one SNAT address share one affinity entry and one endpoint",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_clients_behind_one_snat_address_share_one_endpoint(
    client: Client,
    path_clients: PathClients,
    snat_service: SnatService,
    testbed: Testbed,
    check: Check,
) -> None:
    """Behind a balancer or gateway that hides addresses, ClientIP sends everybody to one pod: this is by design.

    Preconditions: a Service with a node port and ClientIP; in front of it the node port of another node, which leads
        there and replaces the client's address with its node's.
    Steps: 10 requests each of two pods on different nodes to the node port in front; read the affinity entries of the
        node behind.
    Expected: one entry, with an address of neither client; its endpoint answers both.
    """
    snat_service.sync.require(snat_service.node, snat_service.behind)
    requests = []
    for sender in (client, path_clients.pod):
        answers = sender.request(*snat_service.targets, count=REQUESTS, name=f"answers to {sender.pod}")
        requests.append(PathRequests(snat_service.front, sender.id, snat_service.targets, answers))
    state = testbed.nodes.read_one(snat_service.behind)

    verdict = judge_translated_clients(testbed.backend, snat_service.service, requests, state)

    check(verdict)


@claim(
    "C66",
    "All requests of a client to an external IP reach one endpoint",
    promised_by=API,
    source=sources.EXTERNAL_IPS_FIELD,
)
def test_all_requests_to_an_external_ip_reach_one_endpoint(
    client: Client, external_ip_service: ServiceState, path_services: PathServices, check: Check
) -> None:
    """Clients that enter by externalIPs need sessions as those of the cluster IP do.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, all from one endpoint.
    """
    service = external_ip_service
    path_services.sync.require(client.node)
    targets = {Target(address, service.ports[0].port): f"at {address}" for address in service.external_ips}
    answers = client.request(*targets, count=3 * REQUESTS)

    verdict = judge_one_endpoint_per_path(PathRequests(service, client.id, targets, answers))

    check(verdict)


@claim(
    "C66b",
    "Every node leads the external IP to the Service's endpoints through its external chain",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_node_leads_the_external_ip_to_the_services_endpoints(
    external_ip_service: ServiceState, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A node whose rules are missing or wrong refuses these clients, or loses their affinity.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = external_ip_service
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C67",
    "All requests of a client to a load balancer's address reach one endpoint",
    promised_by=API,
    source=sources.LOAD_BALANCER_FIELD,
)
def test_all_requests_to_a_load_balancers_address_reach_one_endpoint(
    client: Client, load_balancer_service: ServiceState, path_services: PathServices, check: Check
) -> None:
    """Nodes intercept traffic to this address, so pods that use it need the same affinity as clients outside.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, all from one endpoint.
    """
    service = load_balancer_service
    path_services.sync.require(client.node)
    targets = {Target(address, service.ports[0].port): f"at {address}" for address in service.balancer_ips}
    answers = client.request(*targets, count=3 * REQUESTS)

    verdict = judge_one_endpoint_per_path(PathRequests(service, client.id, targets, answers))

    check(verdict)


@claim(
    "C67b",
    "Every node leads the load balancer's address to the Service's endpoints through its external chain",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_node_leads_the_load_balancers_address_to_the_services_endpoints(
    load_balancer_service: ServiceState, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """A node whose rules are missing or wrong loses traffic that the load balancer keeps sending to it.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = load_balancer_service
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)
