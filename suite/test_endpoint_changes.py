"""Endpoints and Services that come and go, while a client sends requests to them.

All scenarios run at the same time, before the first of these claims is judged. The client sends 20 requests a second to
each Service, each on a new connection. A request counts as sent after a change if the client's node had followed the
change by then, on the client's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, known_behaviour, sources
from session_affinity.plugin.claims import claim
from session_affinity.scenarios.endpoint_changes.scenario import Scenario, ScenarioStep
from session_affinity.verdicts.endpoint_changes import (
    judge_entry_kept,
    judge_leftovers,
    judge_no_entries,
    judge_step,
    judge_step_rules,
    judge_steps,
)
from session_affinity.verdicts.flows import (
    judge_flows_answered,
    judge_flows_kept,
    judge_flows_left,
    judge_flows_unanswered,
)
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.endpoint_changes import EndpointChanges
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.endpoint_changes]


@claim(
    "C27",
    "A client whose endpoint becomes unready moves to a ready one without a lost request",
    promised_by=API,
    source=sources.READY_CONDITION,
)
def test_a_client_leaves_an_endpoint_that_becomes_unready(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Readiness takes a pod out of service; affinity must not keep clients on a pod that reported that it cannot serve.

    Preconditions: a Service with ClientIP over the client's endpoint and two more, all ready.
    Steps: set the client's pod, which goes on serving, to not ready; the client sends requests all the time.
    Expected: every request is answered, and by one of the other two once the node has followed; no node has rules,
        lists or sets of the unready endpoint.
    """
    result = endpoint_changes.of(Scenario.UNREADY)

    verdict = judge_step(result, ScenarioStep.POD_NOT_READY, client.id)

    check(verdict)


@claim(
    "C80",
    "An endpoint that becomes ready again does not take back its former clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    known=(known_behaviour.UNUSED_CHAINS_KEPT,),
)
def test_an_endpoint_that_becomes_ready_again_does_not_take_back_its_clients(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A flapping readiness probe must not move a session twice.

    Preconditions: a client that moved away from an endpoint when it became unready.
    Steps: set the pod to ready again; the client sends requests all the time.
    Expected: the client stays on the endpoint that it is bound to now, every request is answered, and every node has
        the rules of all three endpoints.
    """
    result = endpoint_changes.of(Scenario.UNREADY)

    verdict = judge_step(result, ScenarioStep.POD_READY_AGAIN, client.id)

    check(verdict)


@claim(
    "C28",
    "A client whose pod is deleted is bound to another endpoint once its node has followed",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_client_whose_pod_is_deleted_is_bound_to_another_endpoint(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A stale affinity entry would send the client to an address that nobody has, for up to the whole timeout.

    Preconditions: a Service with ClientIP over the client's endpoint and two more.
    Steps: delete the client's pod without a grace period while the client is silent; the client sends requests again as
        soon as its node has followed.
    Expected: every request is answered, by one of the other two.
    """
    result = endpoint_changes.of(Scenario.DELETED)

    verdict = judge_step(result, ScenarioStep.POD_DELETED, client.id)

    check(verdict)


@claim(
    "C39",
    "A pod recreated under its name, with a new address, starts without clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_a_recreated_pod_starts_without_clients(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Affinity is by address, not by name: a StatefulSet pod does not get its sessions back after a restart.

    Preconditions: a client whose pod was deleted, and which is bound to another endpoint.
    Steps: create a pod with the same name; the client sends requests all the time.
    Expected: the client stays where it is, every request is answered, and every node has the rules of the new address.
    """
    result = endpoint_changes.of(Scenario.DELETED)

    verdict = judge_step(result, ScenarioStep.POD_RECREATED, client.id)

    check(verdict)


@claim(
    "C29",
    "Scaling up moves no client",
    promised_by=API,
    source=sources.FIELD,
)
def test_scaling_up_moves_no_client(client: Client, endpoint_changes: EndpointChanges, check: Check) -> None:
    """New replicas must not end existing sessions; it also means that old clients do not spread to new pods.

    Preconditions: a Service with ClientIP over three endpoints, to one of which the client is bound.
    Steps: scale to five endpoints; the client sends requests all the time.
    Expected: the client stays, every request is answered, and every node has the rules of five endpoints.
    """
    result = endpoint_changes.of(Scenario.SCALED)

    verdict = judge_step(result, ScenarioStep.SCALED_TO_5, client.id)

    check(verdict)


@claim(
    "C30",
    "Scaled to zero, no request is answered; scaled up again, affinity works again",
    promised_by=API,
    source=sources.FIELD,
)
def test_affinity_works_again_after_scaling_to_zero(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """After an outage or a scale from zero clients must be bound again, without leftovers of the former endpoints.

    Preconditions: a Service with ClientIP over five endpoints, to one of which the client is bound.
    Steps: scale to zero, send a request; scale to three, and send requests all the time from then on.
    Expected: at zero no answer, and no node has rules that lead to an endpoint; at three one endpoint answers every
        request.
    """
    result = endpoint_changes.of(Scenario.SCALED)

    verdict = judge_steps(result, client.id, ScenarioStep.SCALED_TO_0, ScenarioStep.SCALED_TO_3)

    check(verdict)


@claim(
    "C81",
    "A rolling update moves a client only when its endpoint goes, and loses no request",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_rolling_update_loses_no_request(client: Client, endpoint_changes: EndpointChanges, check: Check) -> None:
    """Deployments update all the time: each needless move ends a session, each lost request is an error for a user.

    Preconditions: a Service with ClientIP over two endpoints, to one of which the client is bound.
    Steps: add a new endpoint, replace the first old one, remove the last old one; old pods go on serving, as pods with
        a grace period do; the client sends requests all the time.
    Expected: every request is answered; the client stays on its endpoint while that is one, and moves to one other when
        it goes.
    """
    result = endpoint_changes.of(Scenario.ROLLED)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C82",
    "A changed selector binds clients to the newly selected pods without a lost request",
    promised_by=API,
    source=sources.SELECTOR_FIELD,
    known=(known_behaviour.UNUSED_CHAINS_KEPT,),
)
def test_a_changed_selector_binds_clients_to_the_newly_selected_pods(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Blue-green deployments switch the selector: affinity must not keep clients on the old version.

    Preconditions: a Service with ClientIP over three pods, to one of which the client is bound.
    Steps: change the selector to two other pods, then back; the client sends requests all the time.
    Expected: every request is answered, each time by one selected pod; no node has rules of the others.
    """
    result = endpoint_changes.of(Scenario.SELECTED)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C34",
    "Terminating endpoints serve their clients only while no endpoint is ready",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
)
def test_terminating_endpoints_serve_only_while_none_is_ready(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """KEP-1669 avoids an outage while the last pods drain; affinity must use and leave these endpoints accordingly.

    Preconditions: a Service with ClientIP over two pods that take two minutes to terminate and serve meanwhile.
    Steps: delete the client's pod, then the other one; the client sends requests all the time.
    Expected: every request is answered; the client moves to the ready pod, and stays there when that terminates too;
        every node has the rules of the ready one, then of both.
    """
    result = endpoint_changes.of(Scenario.DRAINED)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C34b",
    "With internalTrafficPolicy Local, terminating endpoints of the node serve while none is ready",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
)
def test_with_internal_policy_local_terminating_endpoints_of_the_node_serve(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Ready pods on other nodes do not help here: without the node's own draining pods clients get no answer.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local over two pods of the client's node that take
        two minutes to terminate, and one of another node.
    Steps: delete one of the two, then the other; the client sends requests all the time.
    Expected: every request is answered by a pod of the client's node: by a ready one while there is one, then by a
        terminating one, although the pod of the other node is ready; every node has the rules of its own endpoints.
    """
    result = endpoint_changes.of(Scenario.LOCAL)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C34c",
    "With externalTrafficPolicy Local, rules for external traffic use the node's own terminating endpoints",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
    modes=BOTH_MODES,
)
def test_external_rules_use_terminating_endpoints_of_the_node(endpoint_changes: EndpointChanges, check: Check) -> None:
    """Load balancers keep sending until health checks fail: draining pods must serve that traffic meanwhile.

    Preconditions: a NodePort Service with ClientIP and externalTrafficPolicy Local over two pods of one node that take
        two minutes to terminate, and one of another node.
    Steps: delete one of the two, then the other; read the rules of every node each time.
    Expected: the node of the two has the rules of the ready one, then of both terminating ones; for internal traffic
        every node has the rules of the ready endpoints.
    """
    result = endpoint_changes.of(Scenario.OUTSIDE)

    verdict = judge_step_rules(*result.steps)

    check(verdict)


@claim(
    "C83",
    "Changing the port number keeps clients bound",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_changing_the_port_number_keeps_clients_bound(
    client: Client, endpoint_changes: EndpointChanges, testbed: Testbed, check: Check
) -> None:
    """Chains, lists and sets are named after the port's name, so a new number must not end sessions.

    Preconditions: a Service with ClientIP over three endpoints, to one of which the client is bound.
    Steps: change the number of its port; read the client's node; 10 requests to the new number.
    Expected: the client still has its affinity entry, and that endpoint answers all requests.
    """
    result = endpoint_changes.of(Scenario.PORT)

    verdict = combine(
        judge_entry_kept(result, ScenarioStep.PORT_NUMBER_CHANGED, client.id, testbed.backend),
        judge_step(result, ScenarioStep.PORT_NUMBER_CHANGED, client.id),
    )

    check(verdict)


@claim(
    "C83b",
    "Renaming the port clears its affinity entries",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_renaming_the_port_clears_its_affinity_entries(
    endpoint_changes: EndpointChanges, testbed: Testbed, check: Check
) -> None:
    """Control for C83: a new name makes new chains, so renaming a port ends all sessions of the Service.

    Preconditions: a Service with ClientIP that has an affinity entry of a client.
    Steps: change the name of its port; read every node.
    Expected: every node has the rules of the new name and none of the old one, and no affinity entry.
    """
    result = endpoint_changes.of(Scenario.PORT)

    verdict = combine(
        judge_no_entries(result.step(ScenarioStep.PORT_RENAMED), testbed.backend),
        judge_step_rules(result.step(ScenarioStep.PORT_RENAMED)),
    )

    check(verdict)


@claim(
    "C84",
    "A Service recreated under its name starts without affinity entries",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
    known=(known_behaviour.UNUSED_CHAINS_KEPT,),
)
def test_a_recreated_service_starts_without_affinity_entries(
    endpoint_changes: EndpointChanges, testbed: Testbed, check: Check
) -> None:
    """kubectl replace --force recreates Services; entries of the old one must not bind clients of the new one.

    Preconditions: a Service with ClientIP that has an affinity entry of a client.
    Steps: delete it and, once the nodes have followed, create it again under its name; read every node each time.
    Expected: no node has anything of it; then every node has all its rules, and no affinity entry.
    """
    result = endpoint_changes.of(Scenario.RECREATED)

    verdict = combine(
        judge_step_rules(result.step(ScenarioStep.SERVICE_DELETED)),
        judge_step_rules(result.step(ScenarioStep.SERVICE_RECREATED)),
        judge_no_entries(result.step(ScenarioStep.SERVICE_RECREATED), testbed.backend),
    )

    check(verdict)


@claim(
    "C87",
    "A change of type to ClusterIP and back leaves no rule for the node port and keeps clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_change_of_type_leaves_no_rule_for_the_node_port_and_keeps_clients(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A node port that stays open after its Service gave it up exposes what was meant to be internal.

    Preconditions: a Service of type NodePort with ClientIP over three endpoints, to one of which the client is bound.
    Steps: change its type to ClusterIP, then to NodePort again; read the rules of every node each time; 10 requests to
        the cluster IP each time.
    Expected: every node has the rules of the type, and none for a node port that the Service does not have; the
        endpoint that the client is bound to answers all requests.
    """
    result = endpoint_changes.of(Scenario.TYPED)

    verdict = combine(judge_steps(result, client.id), judge_step_rules(*result.steps))

    check(verdict)


@claim(
    "C87b",
    "Withdrawn external and load balancer addresses leave no rule, and clients stay bound",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_withdrawn_addresses_leave_no_rule_and_clients_stay_bound(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A withdrawn address may be given to another Service, or another host, and must not lead to the former one.

    Preconditions: a Service of type LoadBalancer with ClientIP and an external address, to one endpoint of which the
        client is bound.
    Steps: set an address of its load balancer, withdraw both addresses, give both back; read the rules of every node
        each time; 10 requests to the cluster IP each time.
    Expected: every node has the rules of the addresses that the Service has at the time, and no others of it; the
        endpoint that the client is bound to answers all requests.
    """
    result = endpoint_changes.of(Scenario.ADDRESSED)

    verdict = combine(judge_steps(result, client.id), judge_step_rules(*result.steps))

    check(verdict)


@claim(
    "C88",
    "Switching traffic policies moves a client only when its endpoint may no longer be used",
    promised_by=API,
    source=sources.INTERNAL_POLICY_FIELD,
    known=(known_behaviour.UNUSED_CHAINS_KEPT,),
)
def test_switching_policies_moves_a_client_only_when_it_must(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Policies are switched on Services in use; a node that serves the former policy sends clients to the wrong node.

    Preconditions: a NodePort Service with ClientIP over an endpoint of the client's node and one of another node.
    Steps: change internalTrafficPolicy to Local; change it to Cluster again and externalTrafficPolicy to Local; change
        that to Cluster again; the client sends requests all the time.
    Expected: every request is answered; under internalTrafficPolicy Local by the endpoint of the client's node; under
        Cluster again by that, or by the one it was bound to at first, whose entry has not expired, and from then on by
        no other; every node has the rules of the policies of the time.
    """
    result = endpoint_changes.of(Scenario.POLICED)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C89",
    "Adding and removing a port moves no client of another port",
    promised_by=API,
    source=sources.FIELD,
)
def test_adding_and_removing_a_port_moves_no_client_of_another_port(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A metrics port that is added to a Service must not end the sessions of the port beside it.

    Preconditions: a Service with ClientIP and one port over three endpoints, to one of which the client is bound.
    Steps: add a second port, then remove it; 10 requests to the first port each time.
    Expected: the endpoint that the client is bound to answers all of them, and every node has the rules of both ports,
        then of the first alone.
    """
    result = endpoint_changes.of(Scenario.WIDENED)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C93",
    "An endpoint that is back within a second is used like any other",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_an_endpoint_that_is_back_within_a_second_is_used_like_any_other(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """kube-proxy deletes what it has of a former endpoint later: it must not delete what the endpoint needs again.

    Preconditions: a Service with ClientIP over three endpoints, to one of which the client is bound.
    Steps: remove the client's endpoint and give it back as soon as the API has followed; change other Services twice, a
        second and more later; the client sends requests all the time.
    Expected: every request is answered, by one endpoint once the node has followed; every node has the rules of all
        three endpoints, then and after each later change; the client stays from then on.
    """
    result = endpoint_changes.of(Scenario.FLAPPING)

    verdict = judge_steps(result, client.id)

    check(verdict)


@claim(
    "C94",
    "Flows of datagrams leave an endpoint that is removed",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
)
def test_flows_of_datagrams_leave_an_endpoint_that_is_removed(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """DNS resolvers, metrics and telephony send from one socket for hours: their flow must not stay with a former pod.

    Preconditions: a Service with ClientIP and eight UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: remove the endpoint that answers the first flow, although its pod goes on; then give it back.
    Expected: flows that were at this endpoint are answered by one of the other two, also when it is back.
    """
    result = endpoint_changes.of(Scenario.FLOWING)

    verdict = judge_flows_left(result, ScenarioStep.ENDPOINT_REMOVED, ScenarioStep.ENDPOINT_GIVEN_BACK, client.id)

    check(verdict)


@claim(
    "C94b",
    "Flows of datagrams to endpoints that stay are not cut when endpoints change",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
)
def test_flows_of_datagrams_to_endpoints_that_stay_are_not_cut(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """Connections of QUIC and calls of SIP are flows of datagrams: one that goes elsewhere is a connection lost.

    Preconditions: a Service with ClientIP and eight UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: remove the endpoint that answers the first flow; then give it back.
    Expected: each flow to another endpoint is answered by that endpoint all the time; a flow that left the removed
        endpoint stays where it went.
    """
    result = endpoint_changes.of(Scenario.FLOWING)

    verdict = judge_flows_kept(result, client.id, ScenarioStep.ENDPOINT_REMOVED, ScenarioStep.ENDPOINT_GIVEN_BACK)

    check(verdict)


@claim(
    "C94c",
    "Flows of datagrams end when their Service has no endpoint left",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
    known=(known_behaviour.FLOWS_WITHOUT_ENDPOINTS,),
)
def test_flows_of_datagrams_end_without_endpoints(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A flow that goes on floods the address of a pod that is gone, and whoever gets that address next.

    Preconditions: a Service with ClientIP and two UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: remove all endpoints, although their pods go on; change other Services.
    Expected: no datagram is answered any more.
    """
    result = endpoint_changes.of(Scenario.EMPTIED)

    verdict = judge_flows_unanswered(result, ScenarioStep.CHANGES_LATER, client.id)

    check(verdict)


@claim(
    "C94d",
    "Flows of datagrams are answered again when their Service has endpoints again",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
)
def test_flows_of_datagrams_are_answered_again_with_endpoints(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """A socket that sends while there is no endpoint must not be left in a black hole for as long as it sends.

    Preconditions: flows of datagrams to a Service with ClientIP whose endpoints were all removed; they go on.
    Steps: give the three endpoints back.
    Expected: every flow is answered by one of them.
    """
    result = endpoint_changes.of(Scenario.EMPTIED)

    verdict = judge_flows_answered(result, ScenarioStep.SCALED_TO_3, client.id)

    check(verdict)


@claim(
    "C94e",
    "Flows of datagrams end when their Service is deleted",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
    known=(known_behaviour.FLOWS_OF_DELETED_SERVICES,),
)
def test_flows_of_datagrams_end_when_their_service_is_deleted(
    client: Client, endpoint_changes: EndpointChanges, check: Check
) -> None:
    """What is sent to a deleted Service must not go on to pods, or to whoever gets their addresses.

    Preconditions: a Service with ClientIP and eight UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: delete the Service, then other Services.
    Expected: no datagram is answered any more.
    """
    result = endpoint_changes.of(Scenario.FLOWING)

    verdict = judge_flows_unanswered(result, ScenarioStep.SERVICE_DELETED, client.id)

    check(verdict)


@claim(
    "C35",
    "A deleted Service leaves nothing on any node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_deleted_service_leaves_nothing(endpoint_changes: EndpointChanges, check: Check) -> None:
    """Leftovers add up over the life of a node, slow down syncs and may catch traffic of an address used again.

    Preconditions: seventeen Services with ClientIP whose endpoints, ports and policies changed while clients sent
        requests to them.
    Steps: delete them; read every node.
    Expected: no chain, rule, map element, list or set of any of them, those of former endpoints and ports included.
    """
    verdict = judge_leftovers(endpoint_changes.results)

    check(verdict)
