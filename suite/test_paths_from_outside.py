"""Ways to a Service from outside: node ports, external addresses, and what a translation on the way hides.

The client of most claims is a pod on the network of a worker node: to the other nodes it is a client from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import Target
from session_affinity.verdicts.paths import (
    Asked,
    judge_answered_by,
    judge_dropped,
    judge_each_way,
    judge_one_client,
    judge_remembered,
)
from session_affinity.verdicts.rules import judge_aspects

if TYPE_CHECKING:
    from fixtures.paths import Arrivals, OwnClients, PathServices, Translated
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.plugin.evidence import Evidence
    from session_affinity.testbed.node_ports import Entrances
    from session_affinity.testbed.testbed import Programming
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.paths]

REQUESTS = 10


@claim("C31")
def test_through_every_nodes_port_a_client_keeps_to_one_endpoint(
    client: Client, entrances: Entrances, path_services: PathServices, arrivals: Arrivals, evidence: Evidence
) -> None:
    """Through every node's port a client keeps to one endpoint; which one may differ from node to node.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: 10 requests to the node port of each node, each on a new connection.
    Expected: all answered; through each node by one endpoint.
    """
    service = path_services.through
    arrivals.at_entrances(path_services.settled, entrances)
    ways = entrances.ways(service)
    answers = client.request(*ways, count=REQUESTS)
    evidence.answers("answers", answers)

    verdict = judge_each_way("C31", Asked(service, client.pod, ways, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C31b")
def test_the_node_that_a_client_enters_by_remembers_it(
    host_client: Client,
    entrances: Entrances,
    path_services: PathServices,
    programming: Programming,
    evidence: Evidence,
) -> None:
    """The node that a client enters by remembers it, and no other does, by the address that it came with.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints; a client on a node's network that
        never asked it.
    Steps: 10 requests to the node port of each node; read what every node remembers.
    Expected: each node remembers one client, by the address that the client's own connections have, for the endpoint
        that answered through this node: nothing is translated before affinity is decided, and pins are the node's own.
    """
    service = path_services.entered
    path_services.settled.require(*entrances.addresses)
    ways = entrances.ways(service)
    answers = host_client.request(*ways, count=REQUESTS)
    evidence.answers("answers", answers)
    states = programming.nodes.read(entrances.addresses)

    asked = Asked(service, host_client.pod, ways, answers)
    verdict = judge_remembered("C31b", programming.dataplane, asked, entrances.entered(service), states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C65")
def test_every_node_leads_its_node_port_to_the_services_endpoints(
    path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """Every node leads its node port to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service with a node port and ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: the node port leads to the external chain, which
        marks for masquerading and goes on to the chain that asks for every endpoint.
    """
    service = path_services.through
    differences = programming.read(service)

    verdict = judge_aspects("C65", service, differences, path_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C32")
def test_under_external_policy_local_a_node_answers_from_its_own_endpoint(
    host_client: Client, entrances: Entrances, path_services: PathServices, arrivals: Arrivals, evidence: Evidence
) -> None:
    """Under externalTrafficPolicy Local a node answers from its own endpoint.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: 10 requests, from a client on another node's network, to the node port of each node with an endpoint.
    Expected: all answered by the endpoint of the node asked.
    """
    service = path_services.local
    arrivals.at_entrances(path_services.settled, entrances)
    homes = {one.node for one in service.endpoints}
    asked_nodes = [node for node in entrances.others(host_client.node) if node in homes]
    if not asked_nodes:
        pytest.skip(f"no node with an endpoint can be asked but the client's own, {host_client.node}")
    entered = entrances.entered(service, *asked_nodes)
    answers = host_client.request(*entered, count=REQUESTS)
    evidence.answers("answers", answers)

    allowed = {at: [one.pod for one in service.endpoints if one.node == node] for at, node in entered.items()}
    asked = Asked(service, host_client.pod, entrances.ways(service, *asked_nodes), answers)
    verdict = judge_answered_by("C32", asked, allowed)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C32b")
def test_under_external_policy_local_a_node_without_an_endpoint_drops(
    host_client: Client, entrances: Entrances, path_services: PathServices, arrivals: Arrivals, evidence: Evidence
) -> None:
    """Under externalTrafficPolicy Local a node without an endpoint drops what comes for it.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; a node without an endpoint.
    Steps: a request, from a client on another node's network, to the node port of each node without an endpoint.
    Expected: nothing comes back, neither an answer nor a refusal.
    """
    service = path_services.local
    arrivals.at_entrances(path_services.settled, entrances)
    homes = {one.node for one in service.endpoints}
    without = [node for node in entrances.others(host_client.node) if node not in homes]
    if not without:
        pytest.skip("every node that can be asked has an endpoint")
    ways = entrances.ways(service, *without)
    answers = host_client.impatient.request(*ways)
    evidence.answers("answers", answers)

    verdict = judge_dropped("C32b", Asked(service, host_client.pod, ways, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C32c")
def test_under_external_policy_local_a_node_asks_for_its_own_endpoints_alone(
    path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """Under externalTrafficPolicy Local a node asks for its own endpoints alone, for traffic from outside.

    Preconditions: a Service with a node port, ClientIP and externalTrafficPolicy Local; an endpoint on each worker.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones: traffic of pods and of the node itself goes to the
        chain of all endpoints, all other to a chain of the node's own, which the node without an endpoint lacks.
    """
    service = path_services.local
    differences = programming.read(service)

    verdict = judge_aspects("C32c", service, differences, path_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C33")
def test_clients_behind_one_translated_address_are_one_client(
    client: Client,
    own_clients: OwnClients,
    translated: Translated,
    programming: Programming,
    evidence: Evidence,
) -> None:
    """Clients behind one translated address are one client: whoever balances before the Service decides who is one.

    Preconditions: a Service with a node port and ClientIP; in front of it another node's port that leads there, and
        puts its node's address in place of its clients'.
    Steps: 10 requests each of two pods on different nodes to the port in front; read what the node behind remembers.
    Expected: one client remembered, by an address that is neither's; its endpoint answers both.
    """
    translated.settled.require(translated.node, translated.behind)
    asked = []
    for one in (client, own_clients.pod):
        answers = one.request(*translated.ways, count=REQUESTS)
        evidence.answers(f"answers to {one.pod}", answers)
        asked.append(Asked(translated.front, one.pod, translated.ways, answers))
    state = programming.nodes.read_one(translated.behind)

    verdict = judge_one_client("C33", programming.dataplane, translated.service, asked, state)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C66")
def test_at_an_external_address_a_client_keeps_to_one_endpoint(
    client: Client, outside_service: ServiceState, path_services: PathServices, evidence: Evidence
) -> None:
    """At an external address a client keeps to one endpoint.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, one endpoint.
    """
    service = outside_service
    path_services.settled.require(client.node)
    ways = {Target(address, service.ports[0].port): f"at {address}" for address in service.external_ips}
    answers = client.request(*ways, count=3 * REQUESTS)
    evidence.answers("answers", answers)

    verdict = judge_each_way("C66", Asked(service, client.pod, ways, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C66b")
def test_every_node_leads_the_external_address_to_the_services_endpoints(
    outside_service: ServiceState, path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """Every node leads the external address to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service with ClientIP and an address in externalIPs over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = outside_service
    differences = programming.read(service)

    verdict = judge_aspects("C66b", service, differences, path_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C67")
def test_at_a_load_balancers_address_a_client_keeps_to_one_endpoint(
    client: Client, balanced_service: ServiceState, path_services: PathServices, evidence: Evidence
) -> None:
    """At a load balancer's address a client keeps to one endpoint: nodes answer for it themselves.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: 30 requests to that address.
    Expected: 30 answers, one endpoint.
    """
    service = balanced_service
    path_services.settled.require(client.node)
    ways = {Target(address, service.ports[0].port): f"at {address}" for address in service.balancer_ips}
    answers = client.request(*ways, count=3 * REQUESTS)
    evidence.answers("answers", answers)

    verdict = judge_each_way("C67", Asked(service, client.pod, ways, answers))

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C67b")
def test_every_node_leads_a_load_balancers_address_to_the_services_endpoints(
    balanced_service: ServiceState, path_services: PathServices, programming: Programming, evidence: Evidence
) -> None:
    """Every node leads a load balancer's address to the Service's endpoints, through the chain for external traffic.

    Preconditions: a Service of type LoadBalancer with ClientIP and an address in its status over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no rule of the Service differs from the computed ones.
    """
    service = balanced_service
    differences = programming.read(service)

    verdict = judge_aspects("C67b", service, differences, path_services.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()
