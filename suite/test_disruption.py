"""What becomes of rules and clients when kube-proxy stops, and when somebody else changes what it wrote.

Most of these do what other claims would notice: they run last, each on a node of its own as far as there are enough,
and everything runs again when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, IPTABLES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.disruption import (
    judge_held,
    judge_many_services,
    judge_no_failed_sync,
    judge_obstacle,
    judge_repair,
    judge_restart,
    judge_toggle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.nodes.kube_proxy import KubeProxies
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.disruption.flush import Flush
    from session_affinity.scenarios.disruption.many_services import ManyServices
    from session_affinity.scenarios.disruption.outages import Outages
    from session_affinity.traffic.client import Client

pytestmark = [pytest.mark.affinity, pytest.mark.disruption]


@claim(
    "C41b",
    "No kube-proxy failed to write its rules",
    promised_by=KUBE_PROXY,
    source=sources.METRICS,
    modes=BOTH_MODES,
)
def test_no_kube_proxy_failed_to_write_its_rules(
    kube_proxies: KubeProxies, failed_syncs_before: Mapping[str, int], check: Check
) -> None:
    """No kube-proxy failed to write its rules.

    Preconditions: what the other claims did to Services before this one is judged.
    Steps: read the counters of failed syncs from every kube-proxy's metrics, at the beginning of the run and now.
    Expected: none grew.
    """
    verdict = judge_no_failed_sync(failed_syncs_before, kube_proxies.all_failed_syncs())

    check(verdict)


@claim(
    "C40",
    "A restart of kube-proxy loses no request and no client",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_restart_loses_no_request_and_no_client(client: Client, outages: Outages, check: Check) -> None:
    """A restart of kube-proxy loses no request and no client.

    Preconditions: a Service with ClientIP that remembers a client.
    Steps: kill the kube-proxy of the client's node and start it again, while the client asks all the time; make
        another Service and wait for the node to know it.
    Expected: every request is answered, by one endpoint; the client's entry is the one it was; the node's rules are
        right.
    """
    restart = outages.restart()

    verdict = judge_restart(restart, client.pod)

    check(verdict)


@claim(
    "C40b",
    "What changed while kube-proxy stood still is right after its restart",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_what_changed_while_kube_proxy_stood_still_is_right_after_its_restart(outages: Outages, check: Check) -> None:
    """What changed while kube-proxy stood still is right after its restart.

    Preconditions: Services with ClientIP and without it; a node remembers a client for those with it.
    Steps: stop the node's kube-proxy; patch one Service to ClientIP, one to None, the timeout of one to 30 seconds,
        delete one and make a new one; kill that kube-proxy and start it again.
    Expected: the node has the rules of all as they are now, and nothing of the deleted one; the client is remembered
        where only the timeout changed, and forgotten where the affinity is None.
    """
    verdict = judge_toggle(outages.toggle())

    check(verdict)


@claim(
    "C40c",
    "A kube-proxy killed while it writes leaves nothing behind that its restart does not mend",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_kube_proxy_killed_while_it_writes_is_mended_by_its_restart(outages: Outages, check: Check) -> None:
    """A kube-proxy killed while it writes leaves nothing behind that its restart does not mend.

    Preconditions: none.
    Steps: make 20 Services with ClientIP while a node's kube-proxy stands still; have it go on, kill it as it writes
        their rules, and start it again.
    Expected: the node has the rules of all of them.
    """
    verdict = judge_held(outages.killed_while_writing())

    check(verdict)


@claim(
    "C41",
    "A foreign rule in one Service's chain does not affect other Services and is removed at that Service's next sync",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_rule_in_the_way_of_one_service_stops_no_other(outages: Outages, check: Check) -> None:
    """A rule in the way of one Service stops no other, and goes with its next change.

    Preconditions: a Service with ClientIP that the client's node knows.
    Steps: on that node put a rule before the Service's own, so that none of them is reached; make another Service;
        patch the timeout of the first.
    Expected: the node has the rules of the other Service; after its own change those of the first, and the foreign rule
        is gone; no sync failed.
    """
    verdict = judge_obstacle(outages.obstacle())

    check(verdict)


@claim(
    "C48",
    "Rules that somebody flushed are back within the sync period",
    promised_by=KUBE_PROXY,
    source=sources.IPTABLES_MONITOR,
    modes=IPTABLES,
)
@pytest.mark.disruptive
def test_rules_that_somebody_flushed_are_back_within_the_sync_period(flush: Flush | None, check: Check) -> None:
    """Rules that somebody flushed are back within the sync period.

    Preconditions: a Service with ClientIP that a node knows, which is not the client's.
    Steps: write the node's mangle, nat and filter tables anew without anything of kube-proxy's, as a firewall does that
        loads rules of its own; look at the node once a second.
    Expected: all rules are back within kube-proxy's syncPeriod, 5 seconds that it waits for all tables to be flushed,
        and what a sync takes; other claims change Services meanwhile, which may have it notice sooner.
    """
    if flush is None:
        pytest.skip("the only node is the client's: flushing it would disturb every other claim")

    verdict = judge_repair(flush.result())

    check(verdict)


@claim(
    "C86",
    "A thousand further Service ports change no verdict",
    promised_by=API,
    source=sources.FIELD,
)
@pytest.mark.disruptive
def test_a_thousand_further_service_ports_change_no_verdict(
    client: Client, many_services: ManyServices, check: Check
) -> None:
    """A thousand further Service ports change no verdict: to kube-proxy each of them is a Service of its own.

    Preconditions: a Service with ClientIP that is bound to a client.
    Steps: make 10 Services with ClientIP and 100 ports each, then one as the first; 100 requests to each of the two.
    Expected: every node has the rules of the last one, whose requests are answered by one endpoint; those of the first
        are by the endpoint that the client is bound to.
    """
    verdict = judge_many_services(many_services, client.pod)

    check(verdict)
