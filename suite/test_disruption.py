"""Restarts of kube-proxy, and interference with its rules.

Most of these tests would make other claims fail: they run last, each on a node of its own as far as there are enough,
and every kube-proxy runs again when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, IPTABLES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.disruption import (
    judge_blocking_rule,
    judge_changes_while_stopped,
    judge_failed_syncs,
    judge_many_services,
    judge_node_rules,
    judge_repair,
    judge_restart,
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
    "No kube-proxy failed to sync its rules during the run",
    promised_by=KUBE_PROXY,
    source=sources.METRICS,
    modes=BOTH_MODES,
)
def test_no_kube_proxy_failed_to_sync(
    kube_proxies: KubeProxies, failed_syncs_before: Mapping[str, int], check: Check
) -> None:
    """A failed sync delays changes of all Services on the node; kube-proxy retries, so clients may not notice in time.

    Preconditions: the changes that other claims made to Services before this one is judged.
    Steps: read the counters of failed syncs from the metrics of every kube-proxy, at the beginning of the run and now.
    Expected: none has grown.
    """
    verdict = judge_failed_syncs(failed_syncs_before, kube_proxies.all_failed_syncs())

    check(verdict)


@claim(
    "C40",
    "A kube-proxy restart loses no request and no affinity entry",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_restart_loses_no_request_and_no_affinity_entry(client: Client, outages: Outages, check: Check) -> None:
    """Upgrades restart kube-proxy on every node: clients must neither see errors nor lose their sessions.

    Preconditions: a Service with ClientIP that has an affinity entry of the client.
    Steps: kill the kube-proxy of the client's node and start it again, while the client sends requests all the time;
        create another Service and wait for the node to sync it.
    Expected: one endpoint answers every request; the client's entry is the same as before; the node's rules are right.
    """
    restart = outages.restart()

    verdict = judge_restart(restart, client.id)

    check(verdict)


@claim(
    "C40b",
    "Changes made while kube-proxy was stopped are right after its restart",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_changes_made_while_kube_proxy_was_stopped_are_right_after_its_restart(outages: Outages, check: Check) -> None:
    """Services change while a node's kube-proxy is down; whatever it misses then stays wrong until the next change.

    Preconditions: Services with ClientIP and without it; affinity entries of a client, on a node, for those with
        ClientIP.
    Steps: stop the node's kube-proxy; patch one Service to ClientIP, one to None, the timeout of one to 30 seconds,
        delete one and create a new one; kill that kube-proxy and start it again.
    Expected: the node has the rules of all Services as they are now, and nothing of the deleted one; the entry is kept
        where only the timeout changed, and gone where affinity is None.
    """
    verdict = judge_changes_while_stopped(outages.changes_while_stopped())

    check(verdict)


@claim(
    "C40c",
    "A kube-proxy killed during a sync leaves nothing that its restart does not repair",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_kube_proxy_killed_during_a_sync_is_repaired_by_its_restart(outages: Outages, check: Check) -> None:
    """Out-of-memory kills hit kube-proxy in large syncs; half a ruleset that stays would break Services for good.

    Preconditions: none.
    Steps: create 20 Services with ClientIP while a node's kube-proxy is stopped; let it continue, kill it while it
        writes their rules, and start it again.
    Expected: the node has the rules of all of them.
    """
    verdict = judge_node_rules(outages.killed_during_sync())

    check(verdict)


@claim(
    "C41",
    "A foreign rule in one Service's chain does not affect other Services and is removed at that Service's next sync",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_foreign_rule_does_not_affect_other_services(outages: Outages, check: Check) -> None:
    """Security agents and administrators insert rules; one broken Service must not stop the sync of the others.

    Preconditions: a Service with ClientIP that is programmed on the client's node.
    Steps: on that node insert a rule before the Service's own, so that none of them is reached; create another Service;
        patch the timeout of the first.
    Expected: the node has the rules of the other Service; after its own change it has those of the first, and the
        foreign rule is gone; no sync failed.
    """
    verdict = judge_blocking_rule(outages.blocking_rule())

    check(verdict)


@claim(
    "C48",
    "Flushed rules are restored within the sync period",
    promised_by=KUBE_PROXY,
    source=sources.IPTABLES_MONITOR,
    modes=IPTABLES,
)
@pytest.mark.disruptive
def test_flushed_rules_are_restored_within_the_sync_period(flush: Flush, check: Check) -> None:
    """A firewall reload flushes kube-proxy's rules, and no Service works on the node until they are restored.

    Preconditions: a Service with ClientIP that is programmed on a node other than the client's.
    Steps: write the node's mangle, nat and filter tables anew without anything of kube-proxy's, as a firewall does that
        loads its own rules; read the node once a second.
    Expected: all rules are restored within kube-proxy's syncPeriod, plus 5 seconds that it waits for all tables to be
        flushed, plus one sync. (Other claims change Services meanwhile, which may make kube-proxy notice sooner.)
    """
    verdict = judge_repair(flush.result())

    check(verdict)


@claim(
    "C86",
    "A thousand additional Service ports do not affect affinity",
    promised_by=API,
    source=sources.FIELD,
)
@pytest.mark.disruptive
def test_a_thousand_additional_service_ports_do_not_affect_affinity(
    client: Client, thousand_ports: ManyServices, check: Check
) -> None:
    """Large clusters have thousands of Services; to kube-proxy each Service port is a Service of its own.

    Preconditions: a Service with ClientIP, to one endpoint of which a client is bound.
    Steps: create 10 Services with ClientIP and 100 ports each, then one like the first; 100 requests to each of the
        two.
    Expected: every node has the rules of the last Service, and one endpoint answers its requests; the endpoint that the
        client is bound to answers those of the first.
    """
    verdict = judge_many_services(thousand_ports, client.id)

    check(verdict)
