"""The second IP family of a dual-stack cluster; all other claims are judged in the primary one.

The second family is IPv6 on a cluster whose primary family is IPv4, and the other way round. Services have
ipFamilyPolicy PreferDualStack, and so an address of each family.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from session_affinity import experiment
from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.experiment import SPREAD_FALSE_ALARM
from session_affinity.plugin.claims import claim
from session_affinity.traffic.answers import target
from session_affinity.verdicts.distribution import judge_even_spread, judge_one_endpoint
from session_affinity.verdicts.dual_stack import (
    ClientInFamily,
    EntryMove,
    judge_entry_per_family,
    judge_families_independent,
)
from session_affinity.verdicts.rules import judge_sync
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from fixtures.dual_stack import DualService
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed

pytestmark = [pytest.mark.affinity, pytest.mark.dual_stack]

PATCHED_SECONDS = 600


@claim(
    "C45",
    "A dual-stack Service has its computed rules in both IP families",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_dual_stack_service_has_its_rules_in_both_families(
    dual_service: DualService, testbed: Testbed, secondary_testbed: Testbed, check: Check
) -> None:
    """kube-proxy syncs each family separately: half of the clients lose affinity when one family is wrong.

    Preconditions: a Service with ClientIP and ipFamilyPolicy PreferDualStack over three ready endpoints.
    Steps: compute its rules in each family from the API objects; read the rules of both families on every node.
    Expected: no node differs in either family; in iptables mode the rcheck rules compare whole addresses, with the
        masks 255.255.255.255 and ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff.
    """
    since = time.monotonic()
    primary = testbed.wait_for_sync(dual_service.primary, since=since)
    second = secondary_testbed.wait_for_sync(dual_service.second, since=since)

    verdict = combine(
        judge_sync(dual_service.primary, primary),
        judge_sync(dual_service.second, second),
    )

    check(verdict)


@claim(
    "C60",
    "Requests without affinity are spread evenly in the second IP family",
    promised_by=API,
    source=sources.FIELD,
    false_alarm=SPREAD_FALSE_ALARM,
)
def test_requests_without_affinity_are_spread_evenly_in_the_second_family(
    secondary_testbed: Testbed, plain_dual_service: DualService, check: Check
) -> None:
    """Control for C61: one endpoint for everything would pass as affinity in the second family.

    Preconditions: a Service without affinity and with ipFamilyPolicy PreferDualStack over three ready endpoints.
    Steps: 300 requests to its address of the second family, each on a new connection.
    Expected: 300 answers; every endpoint answers, as evenly as chance allows at a false alarm of 1e-7.
    """
    service = plain_dual_service.second
    answers = secondary_testbed.client.request(target(service), count=experiment.SPREAD_REQUESTS)

    verdict = judge_even_spread(service, secondary_testbed.client.id, answers, experiment.SPREAD_FALSE_ALARM)

    check(verdict)


@claim(
    "C61",
    "All requests of a client reach one endpoint in the second IP family",
    promised_by=API,
    source=sources.FIELD,
)
def test_all_requests_of_a_client_reach_one_endpoint_in_the_second_family(
    secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """Clients that resolve the Service to its second address need sessions as much as those of the first.

    Preconditions: a Service with ClientIP and ipFamilyPolicy PreferDualStack; a client that has sent it no request.
    Steps: 100 requests to its address of the second family, each on a new connection.
    Expected: 100 answers, all from one endpoint.
    """
    service = dual_service.second
    answers = secondary_testbed.client.request(target(service), count=experiment.STICKY_REQUESTS)

    verdict = judge_one_endpoint(service, secondary_testbed.client.id, answers)

    check(verdict)


@claim(
    "C62",
    "In each IP family a client has one affinity entry, with its address of that family",
    promised_by=KUBE_PROXY,
    source=sources.AFFINITY_STORES,
    modes=BOTH_MODES,
)
def test_a_client_has_one_affinity_entry_in_each_family(
    testbed: Testbed, secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """An entry with a cut or foreign address binds other clients too, or never matches this one again.

    Preconditions: a Service with ClientIP and ipFamilyPolicy PreferDualStack; a client that has sent it no request.
    Steps: 20 requests to each of its two addresses; read the lists or sets of the client's node.
    Expected: in each family one list or set has the client's address of that family, live, and there is no entry of
        another client; an entry of a list has 20 stamps, and IPv6 addresses are printed in eight full groups, as the
        kernel's %pI6 does.
    """
    sides = ((dual_service.primary, testbed), (dual_service.second, secondary_testbed))
    before = testbed.client.syns_sent_again()
    testbed.client.request(*(target(service) for service, _ in sides), count=20)
    in_families = [
        ClientInFamily(service, side.client.id, side.nodes.read_one(side.client.node)) for service, side in sides
    ]
    sent_again = testbed.client.syns_sent_again() - before
    hz = testbed.hz(testbed.client.node)

    verdict = judge_entry_per_family(testbed.backend, in_families, 20, hz, sent_again=sent_again)

    check(verdict)


@claim(
    "C63",
    "Affinity in one IP family does not affect the other",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_affinity_in_one_family_does_not_affect_the_other(
    secondary_testbed: Testbed, dual_service: DualService, check: Check
) -> None:
    """A client may use both addresses; a change in one family must not end its session in the other.

    Preconditions: a Service with ClientIP and ipFamilyPolicy PreferDualStack over three ready endpoints.
    Steps: for each endpoint in turn, make an affinity entry for that endpoint alone with the client's address of the
        second family, and send 5 requests to each of the Service's two addresses.
    Expected: in the second family that endpoint answers all 5, each time; in the primary family one endpoint answers
        all 15.
    """
    primary, second = dual_service.primary, dual_service.second
    client, backend = secondary_testbed.client, secondary_testbed.backend
    moves = []
    for store, endpoint in backend.affinity_stores(second).items():
        secondary_testbed.nodes.run(client.node, backend.pin_argv(second, client.address, store)).check()
        answers = client.request(target(primary), target(second), count=5)
        moves.append(EntryMove(endpoint, answers.of(target(second)), answers.of(target(primary))))

    verdict = judge_families_independent((primary, second), client.id, moves)

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
    """A family that keeps the old timeout gives the same client two different session lengths.

    Preconditions: a Service with ClientIP, 10800 seconds and ipFamilyPolicy PreferDualStack over three ready endpoints.
    Steps: patch timeoutSeconds to 600 in place; read the rules of both families on every node.
    Expected: every rcheck rule or set has 600 seconds, in both families, on every node.
    """
    since = time.monotonic()
    (primary,) = testbed.services.patch_timeouts([dual_service.primary], PATCHED_SECONDS)
    second = testbed.services.state_in(dual_service.second.family, primary)
    sync = testbed.wait_for_sync(primary, since=since)
    second_sync = secondary_testbed.wait_for_sync(second, since=since)

    verdict = combine(judge_sync(primary, sync), judge_sync(second, second_sync))

    check(verdict)
