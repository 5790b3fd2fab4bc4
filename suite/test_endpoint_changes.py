"""Endpoints and Services that come and go, while a client sends requests to them.

All scenarios run at the same time, before the first of these claims is judged. The client sends 20 requests a second to
each Service, each on a new connection. A request counts as sent after a change if the client's node had followed the
change by then, on the client's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
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
    "C35",
    "A deleted Service leaves nothing on any node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_deleted_service_leaves_nothing(endpoint_changes: EndpointChanges, check: Check) -> None:
    """Leftovers add up over the life of a node, slow down syncs and may catch traffic of an address used again.

    Preconditions: ten Services with ClientIP whose endpoints, ports and selectors changed while clients sent requests
        to them.
    Steps: delete them; read every node.
    Expected: no chain, rule, map element, list or set of any of them, those of former endpoints and ports included.
    """
    verdict = judge_leftovers(endpoint_changes.results)

    check(verdict)
