"""Ways to a Service from outside: node ports, external addresses, and what a translation on the way hides.

The client of most claims is a pod on the network of a worker node: to the other nodes it is a client from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target
from session_affinity.verdicts.paths import (
    PathRequests,
    judge_answered_by,
    judge_dropped,
    judge_each_way,
    judge_one_client,
    judge_remembered,
)
from session_affinity.verdicts.rules import judge_aspects

if TYPE_CHECKING:
    from fixtures.paths import NodeWaits, PathClients, PathServices, SnatService
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.node_ports import NodePortTargets
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.paths]

REQUESTS = 10


@claim(
    "C31",
    "Through every node's port a client keeps to one endpoint",
    promised_by=API,
    source=sources.NODE_PORT_FIELD,
)
def test_through_every_nodes_port_a_client_keeps_to_one_endpoint(
    client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    node_waits: NodeWaits,
    check: Check,
) -> None:
    """Through every node's port a client keeps to one endpoint; which one may differ from node to node.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: 10 requests to the node port of each node, each on a new connection.
    Expected: all answered; through each node by one endpoint.
    """
    service = path_services.through
    node_waits.at_entrances(path_services.sync, node_port_targets)
    ways = node_port_targets.labelled_targets(service)
    answers = client.request(*ways, count=REQUESTS)

    verdict = judge_each_way(PathRequests(service, client.pod, ways, answers))

    check(verdict)


@claim(
    "C31b",
    "The node that a client enters by remembers it, and no other does",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_the_node_that_a_client_enters_by_remembers_it(
    host_network_client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    testbed: Testbed,
    check: Check,
) -> None:
    """The node that a client enters by remembers it, and no other does, by the address that it came with.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints; a client on a node's network that
        never asked it.
    Steps: 10 requests to the node port of each node; read what every node remembers.
    Expected: each node remembers one client, by the address that the client's own connections have, for the endpoint
        that answered through this node: nothing is translated before affinity is decided, and pins are the node's own.
    """
    service = path_services.entered
    path_services.sync.require(*node_port_targets.addresses)
    ways = node_port_targets.labelled_targets(service)
    answers = host_network_client.request(*ways, count=REQUESTS)
    states = testbed.nodes.read(node_port_targets.addresses)

    asked = PathRequests(service, host_network_client.pod, ways, answers)
    verdict = judge_remembered(testbed.backend, asked, node_port_targets.target_to_node(service), states)

    check(verdict)


@claim(
    "C65",
    "Every node leads its node port to the Service's endpoints",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_node_leads_its_node_port_to_the_services_endpoints(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """Every node leads its node port to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the node port leads to the external chain, which
        marks for masquerading and goes on to the chain that asks for every endpoint.
    """
    service = path_services.through
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C32",
    "Under externalTrafficPolicy Local a node answers from its own endpoint",
    promised_by=API,
    source=sources.EXTERNAL_POLICY_FIELD,
)
def test_under_external_policy_local_a_node_answers_from_its_own_endpoint(
    host_network_client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    node_waits: NodeWaits,
    check: Check,
) -> None:
    """Under externalTrafficPolicy Local a node answers from its own endpoint.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: 10 requests, from a client on another node's network, to the node port of each node with an endpoint.
    Expected: all answered by the endpoint of the node asked.
    """
    service = path_services.local
    node_waits.at_entrances(path_services.sync, node_port_targets)
    homes = {one.node for one in service.endpoints}
    asked_nodes = [node for node in node_port_targets.others(host_network_client.node) if node in homes]
    if not asked_nodes:
        pytest.skip(f"no node with an endpoint can be asked but the client's own, {host_network_client.node}")
    entered = node_port_targets.target_to_node(service, *asked_nodes)
    answers = host_network_client.request(*entered, count=REQUESTS)

    allowed = {at: [one.pod for one in service.endpoints if one.node == node] for at, node in entered.items()}
    asked = PathRequests(
        service, host_network_client.pod, node_port_targets.labelled_targets(service, *asked_nodes), answers
    )
    verdict = judge_answered_by(asked, allowed)

    check(verdict)


@claim(
    "C32b",
    "Under externalTrafficPolicy Local a node without an endpoint drops",
    promised_by=API,
    source=sources.EXTERNAL_POLICY_FIELD,
)
def test_under_external_policy_local_a_node_without_an_endpoint_drops(
    host_network_client: Client,
    node_port_targets: NodePortTargets,
    path_services: PathServices,
    node_waits: NodeWaits,
    check: Check,
) -> None:
    """Under externalTrafficPolicy Local a node without an endpoint drops what comes for it.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; a node without an endpoint.
    Steps: a request, from a client on another node's network, to the node port of each node without an endpoint.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    service = path_services.local
    node_waits.at_entrances(path_services.sync, node_port_targets)
    homes = {one.node for one in service.endpoints}
    without = [node for node in node_port_targets.others(host_network_client.node) if node not in homes]
    if not without:
        pytest.skip("every node that can be asked has an endpoint")
    ways = node_port_targets.labelled_targets(service, *without)
    answers = host_network_client.impatient.request(*ways)

    verdict = judge_dropped(PathRequests(service, host_network_client.pod, ways, answers))

    check(verdict)


@claim(
    "C32c",
    "Under externalTrafficPolicy Local a node asks for its own endpoints alone",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_under_external_policy_local_a_node_asks_for_its_own_endpoints_alone(
    path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """Under externalTrafficPolicy Local a node asks for its own endpoints alone, for traffic from outside.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: traffic of pods and of the node itself goes to the
        chain of all endpoints, all other to a chain of the node's own, which the node without an endpoint lacks.
    """
    service = path_services.local
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C33",
    "Clients behind one translated address are one client",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_clients_behind_one_translated_address_are_one_client(
    client: Client,
    path_clients: PathClients,
    translated: SnatService,
    testbed: Testbed,
    check: Check,
) -> None:
    """Clients behind one translated address are one client: whoever balances before the Service decides who is one.

    Preconditions: a Service with a node port and ClientIP; in front of it another node's port that leads there, and
        puts its node's address in place of its clients'.
    Steps: 10 requests each of two pods on different nodes to the port in front; read what the node behind remembers.
    Expected: one client remembered, by an address that is neither's; its endpoint answers both.
    """
    translated.sync.require(translated.node, translated.behind)
    asked = []
    for one in (client, path_clients.pod):
        answers = one.request(*translated.ways, count=REQUESTS, name=f"answers to {one.pod}")
        asked.append(PathRequests(translated.front, one.pod, translated.ways, answers))
    state = testbed.nodes.read_one(translated.behind)

    verdict = judge_one_client(testbed.backend, translated.service, asked, state)

    check(verdict)


@claim(
    "C66",
    "At an external address a client keeps to one endpoint",
    promised_by=API,
    source=sources.EXTERNAL_IPS_FIELD,
)
def test_at_an_external_address_a_client_keeps_to_one_endpoint(
    client: Client, outside_service: ServiceState, path_services: PathServices, check: Check
) -> None:
    """At an external address a client keeps to one endpoint.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, one endpoint.
    """
    service = outside_service
    path_services.sync.require(client.node)
    ways = {Target(address, service.ports[0].port): f"at {address}" for address in service.external_ips}
    answers = client.request(*ways, count=3 * REQUESTS)

    verdict = judge_each_way(PathRequests(service, client.pod, ways, answers))

    check(verdict)


@claim(
    "C66b",
    "Every node leads the external address to the Service's endpoints",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_node_leads_the_external_address_to_the_services_endpoints(
    outside_service: ServiceState, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """Every node leads the external address to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = outside_service
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)


@claim(
    "C67",
    "At a load balancer's address a client keeps to one endpoint",
    promised_by=API,
    source=sources.LOAD_BALANCER_FIELD,
)
def test_at_a_load_balancers_address_a_client_keeps_to_one_endpoint(
    client: Client, balanced_service: ServiceState, path_services: PathServices, check: Check
) -> None:
    """At a load balancer's address a client keeps to one endpoint: nodes answer for it themselves.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, one endpoint.
    """
    service = balanced_service
    path_services.sync.require(client.node)
    ways = {Target(address, service.ports[0].port): f"at {address}" for address in service.balancer_ips}
    answers = client.request(*ways, count=3 * REQUESTS)

    verdict = judge_each_way(PathRequests(service, client.pod, ways, answers))

    check(verdict)


@claim(
    "C67b",
    "Every node leads a load balancer's address to the Service's endpoints",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_node_leads_a_load_balancers_address_to_the_services_endpoints(
    balanced_service: ServiceState, path_services: PathServices, testbed: Testbed, check: Check
) -> None:
    """Every node leads a load balancer's address to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = balanced_service
    differences = testbed.read(service)

    verdict = judge_aspects(service, differences, path_services.sync.waited)

    check(verdict)
