"""What becomes of clients when endpoints and Services come and go.

Everything happens to all Services at the same time, before the first of these claims is judged.
A client asks each Service all the time, 20 times a second, each time on a new connection. A request counts as sent
after a change once the client's node had followed it, by the clock of the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.scenarios.endpoint_changes.scenario import Scenario
from session_affinity.verdicts.endpoint_changes import (
    judge_no_memory_yet,
    judge_nothing_left,
    judge_rules,
    judge_stage,
    judge_stages,
    judge_still_remembered,
)
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.endpoint_changes import LifeCycle
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.endpoint_changes]


@claim(
    "C27",
    "A client whose endpoint is not ready any more is bound to another",
    promised_by=API,
    source=sources.READY_CONDITION,
)
def test_a_client_leaves_an_endpoint_that_is_not_ready(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """A client whose endpoint is not ready any more is bound to another.

    Preconditions: a Service with ClientIP over the client's endpoint and two more, all ready.
    Steps: have the client's pod, which goes on serving, say that it is not ready; the client asks all the time.
    Expected: every request is answered; once the node has followed, by one of the other two; no node has rules or a
        memory of the endpoint that is not ready.
    """
    course = lifecycle.of(Scenario.UNREADY)

    verdict = judge_stage(course, 2, client.pod)

    check(verdict)


@claim(
    "C80",
    "An endpoint that is ready again does not take its former clients back",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_an_endpoint_that_is_ready_again_does_not_take_its_clients_back(
    client: Client, lifecycle: LifeCycle, check: Check
) -> None:
    """An endpoint that is ready again does not take its former clients back.

    Preconditions: a client that left an endpoint as that was not ready any more.
    Steps: have the pod say that it is ready again; the client asks all the time.
    Expected: the client stays with the endpoint that it is bound to now, every request is answered, and every node has
        the rules of all three.
    """
    course = lifecycle.of(Scenario.UNREADY)

    verdict = judge_stage(course, 3, client.pod)

    check(verdict)


@claim(
    "C28",
    "A client whose pod is deleted is bound to another once the node knows",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_client_leaves_a_pod_that_is_deleted(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """A client whose pod is deleted is bound to another once the node knows.

    Preconditions: a Service with ClientIP over the client's pod and two more.
    Steps: delete the client's pod, without a grace period, while the client is silent; it asks all the time as soon as
        its node has followed.
    Expected: every request is answered, by one of the other two.
    """
    course = lifecycle.of(Scenario.DELETED)

    verdict = judge_stage(course, 2, client.pod)

    check(verdict)


@claim(
    "C39",
    "A pod made again under its name, at another address, starts without clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
)
def test_a_pod_made_again_starts_without_clients(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """A pod made again under its name, at another address, starts without clients.

    Preconditions: a client whose pod was deleted, and which is bound to another.
    Steps: make a pod of the same name; the client asks all the time.
    Expected: the client stays where it is, every request is answered, every node has the rules of the new address.
    """
    course = lifecycle.of(Scenario.DELETED)

    verdict = judge_stage(course, 3, client.pod)

    check(verdict)


@claim(
    "C29",
    "Scaling up moves no client",
    promised_by=API,
    source=sources.FIELD,
)
def test_scaling_up_moves_no_client(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """Scaling up moves no client.

    Preconditions: a Service with ClientIP over three endpoints, one of which the client is bound to.
    Steps: scale to five endpoints; the client asks all the time.
    Expected: the client stays, every request is answered, every node has the rules of five endpoints.
    """
    course = lifecycle.of(Scenario.SCALED)

    verdict = judge_stage(course, 1, client.pod)

    check(verdict)


@claim(
    "C30",
    "Without endpoints nobody answers, and affinity is back with the endpoints",
    promised_by=API,
    source=sources.FIELD,
)
def test_affinity_is_back_after_scaling_to_nothing(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """Without endpoints nobody answers, and affinity is back with the endpoints.

    Preconditions: a Service with ClientIP over five endpoints, one of which the client is bound to.
    Steps: scale to none, a request; scale to three, and ask all the time from then on.
    Expected: at none, no answer and no node has rules that lead anywhere; at three, one endpoint answers every request.
    """
    course = lifecycle.of(Scenario.SCALED)

    verdict = judge_stages(course, client.pod, 2, 3)

    check(verdict)


@claim(
    "C81",
    "A rolling update keeps a client while its endpoint is there, and loses no request",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_rolling_update_loses_no_request(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """A rolling update keeps a client while its endpoint is there, and loses no request.

    Preconditions: a Service with ClientIP over two endpoints, one of which the client is bound to.
    Steps: add a new one, replace the first old one, remove the last old one; old ones go on serving as pods with a
        grace period do; the client asks all the time.
    Expected: every request is answered; the client stays with its endpoint while that is one, and else with one other.
    """
    course = lifecycle.of(Scenario.ROLLED)

    verdict = judge_stages(course, client.pod)

    check(verdict)


@claim(
    "C82",
    "A changed selector binds clients to the pods it selects, and loses no request",
    promised_by=API,
    source=sources.SELECTOR_FIELD,
)
def test_a_changed_selector_binds_clients_anew(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """A changed selector binds clients to the pods it selects, and loses no request.

    Preconditions: a Service with ClientIP over three pods, one of which the client is bound to.
    Steps: change the selector to two other pods, then back; the client asks all the time.
    Expected: every request is answered, each time by one pod that is selected; no node has rules of the others.
    """
    course = lifecycle.of(Scenario.SELECTED)

    verdict = judge_stages(course, client.pod)

    check(verdict)


@claim(
    "C34",
    "Terminating endpoints serve their clients while none is ready, and only then",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
)
def test_terminating_endpoints_serve_while_none_is_ready(client: Client, lifecycle: LifeCycle, check: Check) -> None:
    """Terminating endpoints serve their clients while none is ready, and only then.

    Preconditions: a Service with ClientIP over two pods that take two minutes to terminate and serve meanwhile.
    Steps: delete the client's pod, then the other one; the client asks all the time.
    Expected: every request is answered; the client moves to the pod that is ready, and stays there when that terminates
        too; every node has the rules of the one, then of both.
    """
    course = lifecycle.of(Scenario.DRAINED)

    verdict = judge_stages(course, client.pod)

    check(verdict)


@claim(
    "C34b",
    "With internalTrafficPolicy Local, terminating endpoints of the node serve while none is ready",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
)
def test_with_a_local_policy_terminating_endpoints_of_the_node_serve(
    client: Client, lifecycle: LifeCycle, check: Check
) -> None:
    """With a Local policy that holds for the node's own endpoints.

    Preconditions: a Service with ClientIP and internalTrafficPolicy Local over two pods of the client's node that take
        two minutes to terminate, and one of another node.
    Steps: delete one of the two, then the other; the client asks all the time.
    Expected: every request is answered by a pod of the node: by one that is ready while there is one, then by one that
        terminates, though the pod of the other node is ready; every node has the rules of its own endpoints.
    """
    course = lifecycle.of(Scenario.LOCAL)

    verdict = judge_stages(course, client.pod)

    check(verdict)


@claim(
    "C34c",
    "Nodes' rules for outside traffic use their own terminating endpoints",
    promised_by=KUBE_PROXY,
    source=sources.TERMINATING_ENDPOINTS,
    modes=BOTH_MODES,
)
def test_rules_for_outside_traffic_use_terminating_endpoints_of_the_node(lifecycle: LifeCycle, check: Check) -> None:
    """Nodes' rules for outside traffic use their own terminating endpoints.

    Preconditions: a NodePort Service with ClientIP and externalTrafficPolicy Local over two pods of one node that take
        two minutes to terminate, and one of another node.
    Steps: delete one of the two, then the other; read the rules of every node each time.
    Expected: the node of the two has the rules of the one that is ready, then of both, which terminate; every node has
        those of the ready one for traffic from inside.
    """
    course = lifecycle.of(Scenario.OUTSIDE)

    verdict = combine(*(judge_rules(stage) for stage in course.stages))

    check(verdict)


@claim(
    "C83",
    "Another port number keeps the clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_another_port_number_keeps_the_clients(
    client: Client, lifecycle: LifeCycle, testbed: Testbed, check: Check
) -> None:
    """Another port number keeps the clients: what remembers them is named after the port's name.

    Preconditions: a Service with ClientIP over three endpoints, one of which the client is bound to.
    Steps: change the number of its port; look at the client's node; 10 requests to the new number.
    Expected: the client is remembered for the endpoint it had, which answers all requests.
    """
    course = lifecycle.of(Scenario.PORT)

    verdict = combine(
        judge_still_remembered(course.stages[0], course.stages[1], client, testbed.backend),
        judge_stage(course, 1, client.pod),
    )

    check(verdict)


@claim(
    "C83b",
    "Another port name forgets them",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_another_port_name_forgets_the_clients(lifecycle: LifeCycle, testbed: Testbed, check: Check) -> None:
    """Another port name forgets them: the control for C83.

    Preconditions: a Service with ClientIP that remembers a client.
    Steps: change the name of its port; look at every node.
    Expected: every node has the rules of the new name and none of the old one; nobody is remembered.
    """
    course = lifecycle.of(Scenario.PORT)

    verdict = combine(
        judge_no_memory_yet(course.stages[2], testbed.backend),
        judge_rules(course.stages[2]),
    )

    check(verdict)


@claim(
    "C84",
    "A Service made again under its name starts without clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_service_made_again_starts_without_clients(lifecycle: LifeCycle, testbed: Testbed, check: Check) -> None:
    """A Service made again under its name starts without clients.

    Preconditions: a Service with ClientIP that remembers a client.
    Steps: delete it, and when the nodes have followed, make it again under its name; look at every node each time.
    Expected: no node has anything of it, then every node has all its rules; nobody is remembered.
    """
    course = lifecycle.of(Scenario.RECREATED)

    verdict = combine(
        judge_rules(course.stages[1]),
        judge_rules(course.stages[2]),
        judge_no_memory_yet(course.stages[2], testbed.backend),
    )

    check(verdict)


@claim(
    "C35",
    "Of a deleted Service nothing is left on any node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_nothing_is_left_of_deleted_services(lifecycle: LifeCycle, check: Check) -> None:
    """Of a deleted Service nothing is left on any node.

    Preconditions: ten Services with ClientIP whose endpoints, ports and selectors changed while clients asked them.
    Steps: delete them; look at every node.
    Expected: no chain, rule, map element, list or set of any of them, former endpoints and ports included.
    """
    verdict = judge_nothing_left(lifecycle.courses)

    check(verdict)
