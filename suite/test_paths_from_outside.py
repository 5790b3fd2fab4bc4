"""Traffic paths from outside the cluster: node ports, external and load balancer addresses, SNAT in front.

What the API promises to clients from outside is judged by a client outside the cluster, which is no pod and no node.
Claims about kube-proxy may have a hostNetwork pod as client: for kube-proxy on all other nodes it is outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_allowed_endpoints,
    judge_dropped_requests,
    judge_entries_by_node,
    judge_one_endpoint_per_path,
    judge_translated_clients,
    judge_unanswered_requests,
)
from session_affinity.verdicts.rules import judge_aspects
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.outside import ExternalAddresses
    from fixtures.paths import LocalhostNodePort, NodeWaits, PathClients, PathServices, RemoteNodePorts, SnatService
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.node_ports import NodePortTargets
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client, OutsideClient

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
    "C31c",
    "At localhost a node's node port leads to one endpoint",
    promised_by=KUBE_PROXY,
    source=sources.LOCALHOST_NODE_PORTS,
)
def test_at_localhost_a_node_port_leads_to_one_endpoint(localhost_node_port: LocalhostNodePort, check: Check) -> None:
    """Programs on nodes use registries and agents at 127.0.0.1, where kube-proxy in nftables mode has its own affinity.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints; a kube-proxy that answers node
        ports at localhost, as in iptables mode by default, in nftables mode since 1.37 where nodePortAddresses has
        localhost and the feature gate KubeProxyNFTablesLocalhostNodePorts is on.
    Steps: 30 requests of a hostNetwork client to the node port at 127.0.0.1, each on a new connection.
    Expected: 30 answers from one endpoint.
    """
    client, target = localhost_node_port.client, localhost_node_port.target
    answers = client.request(target, count=3 * REQUESTS)

    paths = {target: f"at localhost of {client.node}"}
    verdict = judge_one_endpoint_per_path(PathRequests(localhost_node_port.service, client.id, paths, answers))

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
    judged_node_ports: NodePortTargets,
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
    path_services.sync.require(*judged_node_ports.addresses)
    targets = judged_node_ports.labelled_targets(service)
    answers = host_network_client.request(*targets, count=REQUESTS)
    states = testbed.nodes.read(judged_node_ports.addresses)

    requests = PathRequests(service, host_network_client.id, targets, answers)
    verdict = judge_entries_by_node(testbed.backend, requests, judged_node_ports.target_to_node(service), states)

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
    outside_client: OutsideClient, outside_node_ports: RemoteNodePorts, check: Check
) -> None:
    """The policy preserves client addresses; an affinity rule that leads to another node breaks that promise.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker; a
        client outside the cluster.
    Steps: 10 requests to the node port of each node with an endpoint.
    Expected: all are answered by an endpoint of the node whose port was used.
    """
    local_pods = outside_node_ports.with_endpoints()
    answers = outside_client.request(*local_pods, count=REQUESTS)

    labels = outside_node_ports.labelled(local_pods)
    requests = PathRequests(outside_node_ports.service, outside_client.id, labels, answers)
    verdict = judge_allowed_endpoints(requests, local_pods)

    check(verdict)


@claim(
    "C32b",
    "With externalTrafficPolicy Local no endpoint of another node answers at a node's node port",
    promised_by=API,
    source=sources.EXTERNAL_POLICY_FIELD,
)
def test_with_external_policy_local_no_endpoint_of_another_node_answers(
    outside_client: OutsideClient, outside_node_ports: RemoteNodePorts, check: Check
) -> None:
    """Control for C32: load balancers rely on nodes without endpoints not answering for others.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; a node without an endpoint; a
        client outside the cluster.
    Steps: one request to the node port of each node without an endpoint.
    Expected: no endpoint answers; whether the request is refused or nothing comes back does not matter.
    """
    targets = outside_node_ports.labelled(outside_node_ports.without_endpoints())
    answers = outside_client.with_short_timeouts.request(*targets)

    verdict = judge_unanswered_requests(PathRequests(outside_node_ports.service, outside_client.id, targets, answers))

    check(verdict)


@claim(
    "C32d",
    "With externalTrafficPolicy Local a node without endpoints drops node port requests",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_with_external_policy_local_a_node_without_endpoints_drops_requests(
    outside_client: OutsideClient, outside_node_ports: RemoteNodePorts, check: Check
) -> None:
    """A refusal would end the client's attempt at once; kube-proxy is silent, so that the client tries another node.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; a node without an endpoint; a
        client outside the cluster.
    Steps: one request to the node port of each node without an endpoint.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    targets = outside_node_ports.labelled(outside_node_ports.without_endpoints())
    answers = outside_client.with_short_timeouts.request(*targets)

    verdict = judge_dropped_requests(PathRequests(outside_node_ports.service, outside_client.id, targets, answers))

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
    external_ip_service: ServiceState, external_addresses_of: ExternalAddresses, check: Check
) -> None:
    """Clients that enter by externalIPs need sessions as those of the cluster IP do.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints; a client outside
        the cluster whose requests arrive at a node; a pod, if it is answered at such an address without affinity.
    Steps: 30 requests of each client to that address.
    Expected: 30 answers to each client, all from one endpoint.
    """
    service = external_ip_service
    found = external_addresses_of.clients_of(service, service.external_ips)
    answered = {client.id: client.request(*found.targets, count=3 * REQUESTS) for client in found.clients}

    verdict = combine(
        *(
            judge_one_endpoint_per_path(PathRequests(service, client, found.targets, answers))
            for client, answers in answered.items()
        )
    )

    check(verdict, headline=", ".join(f"{client.pod}: {answers.summary()}" for client, answers in answered.items()))


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
    load_balancer_service: ServiceState, external_addresses_of: ExternalAddresses, check: Check
) -> None:
    """Load balancers deliver traffic to nodes under this address; its clients need sessions as those inside do.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints;
        a client outside the cluster whose requests arrive at a node; a pod, if it is answered at such an address
        without affinity.
    Steps: 30 requests of each client to that address.
    Expected: 30 answers to each client, all from one endpoint.
    """
    service = load_balancer_service
    found = external_addresses_of.clients_of(service, service.balancer_ips)
    answered = {client.id: client.request(*found.targets, count=3 * REQUESTS) for client in found.clients}

    verdict = combine(
        *(
            judge_one_endpoint_per_path(PathRequests(service, client, found.targets, answers))
            for client, answers in answered.items()
        )
    )

    check(verdict, headline=", ".join(f"{client.pod}: {answers.summary()}" for client, answers in answered.items()))


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
