"""Both IP families of a dual-stack cluster: the second one is judged here, the primary one by everything else.

The second family is IPv6 unless the cluster's primary one is; a Service that prefers dual-stack has an address of each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity import experiment
from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.cluster_objects.services import target
from session_affinity.experiment import SPREAD_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.distribution import judge_even_spread, judge_one_endpoint
from session_affinity.verdicts.dual_stack import Home, Move, judge_independent, judge_own_memory
from session_affinity.verdicts.rules import judge_programmed
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.dual_stack import DualService
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed

pytestmark = [pytest.mark.affinity, pytest.mark.dual_stack]

SPREAD_REQUESTS = 300
STICKY_REQUESTS = 100
PATCHED_SECONDS = 600


@claim(
    "C45",
    "A dual-stack Service has the computed rules in both IP families",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_dual_stack_service_has_the_rules_of_both_families(
    dual_service: DualService, testbed: Testbed, secondary_testbed: Testbed, check: Check
) -> None:
    """A dual-stack Service has the computed rules in both IP families.

    Preconditions: a Service with ClientIP that prefers dual-stack, over three ready endpoints.
    Steps: compute its rules in each family from the API objects; read both families' rules of every node.
    Expected: no node differs in either family; in iptables mode a client is remembered by its whole address, by mask
        255.255.255.255 and ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff.
    """
    since = time.monotonic()
    primary = testbed.wait_for_sync(dual_service.primary, since=since)
    second = secondary_testbed.wait_for_sync(dual_service.second, since=since)

    verdict = combine(
        judge_programmed(dual_service.primary, primary),
        judge_programmed(dual_service.second, second),
    )

    check(verdict)


@claim(
    "C60",
    "In the second IP family too, requests spread over all endpoints without affinity",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=SPREAD_FALSE_ALARM,
)
def test_requests_spread_without_affinity_in_the_second_family(
    secondary_testbed: Testbed, plain_dual_service: DualService, check: Check
) -> None:
    """In the second IP family too, requests spread over all endpoints without affinity: the control for C61.

    Preconditions: a Service without affinity that prefers dual-stack, over three ready endpoints.
    Steps: 300 requests to its address of the second family, each on a new connection.
    Expected: 300 answers; every endpoint answers, and as evenly as chance allows at a false alarm of 1e-7.
    """
    service = plain_dual_service.second
    answers = secondary_testbed.client.request(target(service), count=SPREAD_REQUESTS)

    verdict = judge_even_spread(service, secondary_testbed.client.pod, answers, experiment.SPREAD_FALSE_ALARM)

    check(verdict)


@claim(
    "C61",
    "In the second IP family too, a client's requests all reach one endpoint",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_client_stays_on_one_endpoint_in_the_second_family(
    secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """In the second IP family too, a client's requests all reach one endpoint.

    Preconditions: a Service with ClientIP that prefers dual-stack; a client that never asked it.
    Steps: 100 requests to its address of the second family, each on a new connection.
    Expected: 100 answers, one endpoint.
    """
    service = dual_service.second
    answers = secondary_testbed.client.request(target(service), count=STICKY_REQUESTS)

    verdict = judge_one_endpoint(service, secondary_testbed.client.pod, answers)

    check(verdict)


@claim(
    "C62",
    "In each IP family a node remembers a client once, by its address there",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_client_is_remembered_once_in_each_family(
    testbed: Testbed, secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """In each IP family a node remembers a client once, by its address there.

    Preconditions: a Service with ClientIP that prefers dual-stack; a client that never asked it.
    Steps: 20 requests to each of its two addresses; read the lists or sets of the client's node.
    Expected: in each family one of them has the client's address of that family, live, and nobody else is in any; a
        list's entry has 20 stamps, and writes IPv6 in eight full groups, as the kernel's %pI6 does.
    """
    sides = ((dual_service.primary, testbed), (dual_service.second, secondary_testbed))
    testbed.client.request(*(target(service) for service, _ in sides), count=20)
    homes = [Home(service, own.client.address, own.nodes.read_one(own.client.node)) for service, own in sides]

    hz = testbed.hz(testbed.client.node)

    verdict = judge_own_memory(testbed.backend, homes, 20, hz)

    check(verdict)


@claim(
    "C63",
    "Where a client is kept in one IP family says nothing of the other",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_where_a_client_is_kept_in_one_family_says_nothing_of_the_other(
    secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """Where a client is kept in one IP family says nothing of the other.

    Preconditions: a Service with ClientIP that prefers dual-stack, over three ready endpoints.
    Steps: for each endpoint in turn, have the client's node remember the client's address of the second family for
        that endpoint alone, and send 5 requests to each of the Service's two addresses.
    Expected: in the second family all 5 are answered by that endpoint, each time; in the primary one all 15 are
        answered by one endpoint.
    """
    primary, second = dual_service.primary, dual_service.second
    client, backend = secondary_testbed.client, secondary_testbed.backend
    moves = []
    for memory, endpoint in backend.affinity_stores(second).items():
        secondary_testbed.nodes.run(client.node, backend.pin_argv(second, client.address, memory)).check()
        answers = client.request(target(primary), target(second), count=5)
        moves.append(Move(endpoint, answers.of(target(second)), answers.of(target(primary))))

    verdict = judge_independent((primary, second), client.node, moves)

    check(verdict)


@claim(
    "C64",
    "A patched timeout reaches the rules of both IP families",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_patched_timeout_reaches_both_families(
    testbed: Testbed, secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """A patched timeout reaches the rules of both IP families.

    Preconditions: a Service with ClientIP and 10800 seconds that prefers dual-stack, over three ready endpoints.
    Steps: patch timeoutSeconds to 600 in place; read both families' rules of every node.
    Expected: every rcheck rule or set says 600, in both families, on every node.
    """
    since = time.monotonic()
    (primary,) = testbed.services.patch_timeouts([dual_service.primary], PATCHED_SECONDS)
    second = testbed.services.seen_in(dual_service.second.family, primary)
    sync = testbed.wait_for_sync(primary, since=since)
    second_sync = secondary_testbed.wait_for_sync(second, since=since)

    verdict = combine(judge_programmed(primary, sync), judge_programmed(second, second_sync))

    check(verdict)
