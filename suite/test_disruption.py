"""Restarts of kube-proxy, and interference with its rules.

Most of these tests would make other claims fail: they run last, each on a node of its own as far as there are enough,
and every kube-proxy runs again when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, known_behaviour, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.disruption import (
    judge_blocking_rule,
    judge_failed_syncs,
    judge_many_services,
    judge_missed_changes,
    judge_missed_changes_by_answers,
    judge_node_rules,
    judge_repair,
    judge_restart,
    judge_restart_by_answers,
)
from session_affinity.verdicts.flows import judge_flows_at_one_endpoint, judge_flows_ended
from session_affinity.verdicts.verdict import combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.nodes.kube_proxy import FailedSyncs, KubeProxies
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.disruption.flush import Flush, Repair
    from session_affinity.scenarios.disruption.many_services import ManyServices
    from session_affinity.scenarios.disruption.outages import BlockingRule, KubeProxyRestart, MissedChanges, NodeRules
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
    kube_proxies: KubeProxies, failed_syncs_before: Mapping[str, FailedSyncs], check: Check
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
def test_a_restart_loses_no_request_and_no_affinity_entry(
    outage_client: Client, restart: KubeProxyRestart, check: Check
) -> None:
    """Upgrades restart kube-proxy on every node: clients must neither see errors nor lose their sessions.

    Preconditions: a Service with ClientIP that has an affinity entry of the client.
    Steps: stop the kube-proxy of the client's node, change other Services, kill it and start it again, while the client
        sends requests all the time; create another Service and wait for the node to sync it.
    Expected: one endpoint answers every request; the client's entry is the same as before; the node's rules are right.
    """
    verdict = judge_restart(restart, outage_client.id)

    check(verdict)


@claim(
    "C40d",
    "A client loses no request and keeps its endpoint while kube-proxy restarts",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
)
@pytest.mark.disruptive
def test_a_client_loses_no_request_while_kube_proxy_restarts(
    outage_client: Client, restart: KubeProxyRestart, check: Check
) -> None:
    """What clients see of C40, in any mode of kube-proxy: what it has programmed must work while it does not run.

    Preconditions: a Service with ClientIP, to one endpoint of which the client is bound.
    Steps: stop the kube-proxy of the client's node, change other Services, kill it and start it again, while the client
        sends requests all the time.
    Expected: one endpoint answers every request.
    """
    verdict = judge_restart_by_answers(restart, outage_client.id)

    check(verdict)


@claim(
    "C94f",
    "Flows of datagrams are not cut by a restart of kube-proxy",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
)
@pytest.mark.disruptive
def test_flows_of_datagrams_are_not_cut_by_a_restart(
    outage_client: Client, restart: KubeProxyRestart, check: Check
) -> None:
    """The first sync takes all endpoints for new: what it removes then cuts every flow on the node at each upgrade.

    Preconditions: a Service with ClientIP and two UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: stop the kube-proxy of the client's node, change other Services, kill it and start it again; wait for the
        node to sync another Service.
    Expected: each flow is answered by one endpoint all the time.
    """
    verdict = judge_flows_at_one_endpoint(restart.flowing, outage_client.id, restart.flows)

    check(verdict)


@claim(
    "C40b",
    "Changes made while kube-proxy was stopped are right after its restart",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_changes_made_while_kube_proxy_was_stopped_are_right_after_its_restart(
    restart: KubeProxyRestart, check: Check
) -> None:
    """Services change while a node's kube-proxy is down; whatever it misses then stays wrong until the next change.

    Preconditions: Services with ClientIP and without it; affinity entries of a client, on a node, for those with
        ClientIP.
    Steps: stop the node's kube-proxy; patch one Service to ClientIP, one to None, the timeout of one to an hour,
        delete one, let one lose its endpoints and create a new one; kill that kube-proxy and start it again.
    Expected: the node has the rules of all Services as they are now, and nothing of the deleted one; the entry is kept
        where only the timeout changed, and gone where affinity is None.
    """
    verdict = judge_missed_changes(restart.changes)

    check(verdict)


@claim(
    "C40e",
    "Clients get what Services became while kube-proxy was stopped",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
)
@pytest.mark.disruptive
def test_clients_get_what_services_became_while_kube_proxy_was_stopped(
    outage_client: Client, restart: KubeProxyRestart, check: Check
) -> None:
    """What clients see of C40b, in any mode of kube-proxy.

    Preconditions: Services with ClientIP and without it; the client is bound to an endpoint of one of them.
    Steps: stop the kube-proxy of the client's node; patch one Service to ClientIP, the timeout of the one to which the
        client is bound to an hour, delete one and create a new one; kill that kube-proxy and start it again; 10
        requests to each Service, one to the deleted one.
    Expected: one endpoint answers all requests to a Service with ClientIP, and that to which the client is bound where
        it was bound; nothing answers for the deleted one.
    """
    verdict = judge_missed_changes_by_answers(restart.changes, outage_client.id)

    check(verdict)


@claim(
    "C92",
    "Nothing that changes while syncs fail is lost",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_nothing_that_changes_while_syncs_fail_is_lost(
    outage_client: Client, changes_while_failing: MissedChanges, check: Check
) -> None:
    """A lock, a full disk, a mistake: syncs fail for a while, and what changed then must not stay wrong.

    Preconditions: Services with ClientIP and without it; affinity entries of a client on its node for those with
        ClientIP.
    Steps: have the kube-proxy of the client's node start no program, so that its syncs fail; patch one Service to
        ClientIP, one to None, the timeout of one to an hour, delete one, let one lose its endpoints and create a new
        one; let it start programs again, and create another Service; 10 requests to each Service, one to the deleted
        one.
    Expected: the node has the rules of all Services as they are now, and nothing of the deleted one; the entry is kept
        where only the timeout changed, and gone where affinity is None; clients get what the Services are.
    """
    verdict = combine(
        judge_missed_changes(changes_while_failing),
        judge_missed_changes_by_answers(changes_while_failing, outage_client.id),
    )

    check(verdict)


@claim(
    "C92b",
    "Flows of datagrams end whose endpoints were removed while syncs failed",
    promised_by=KUBE_PROXY,
    source=sources.CONNTRACK,
    known=(known_behaviour.FLOWS_AFTER_FAILED_SYNCS,),
)
@pytest.mark.disruptive
def test_flows_of_datagrams_end_whose_endpoints_were_removed_while_syncs_failed(
    outage_client: Client, changes_while_failing: MissedChanges, check: Check
) -> None:
    """kube-proxy removes conntrack entries after it has written rules: a failed sync must not make it forget that.

    Preconditions: a Service with ClientIP and two UDP ports over three endpoints; to each port a socket of the client
        sends datagrams all the time.
    Steps: have the kube-proxy of the client's node start no program, so that its syncs fail; remove all endpoints of
        the Service, although their pods go on; let it start programs again, and create two other Services one after the
        other.
    Expected: no datagram is answered any more.
    """
    changes = changes_while_failing

    verdict = judge_flows_ended(changes.emptied, outage_client.id, changes.flows)

    check(verdict)


@claim(
    "C40c",
    "A kube-proxy killed during a sync leaves nothing that its restart does not repair",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_AFTER_START,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_kube_proxy_killed_during_a_sync_is_repaired_by_its_restart(
    killed_during_sync: NodeRules, check: Check
) -> None:
    """Out-of-memory kills hit kube-proxy in large syncs; half a ruleset that stays would break Services for good.

    Preconditions: none.
    Steps: create two Services with ClientIP and 30 ports each while a node's kube-proxy is stopped; let it continue,
        kill it while it writes their rules, and start it again.
    Expected: the node has the rules of both.
    """
    verdict = judge_node_rules(killed_during_sync)

    check(verdict)


@claim(
    "C41",
    "A foreign rule in one Service's chain does not affect other Services and is removed at that Service's next sync",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=BOTH_MODES,
)
@pytest.mark.disruptive
def test_a_foreign_rule_does_not_affect_other_services(blocking_rule: BlockingRule, check: Check) -> None:
    """Security agents and administrators insert rules; one broken Service must not stop the sync of the others.

    Preconditions: a Service with ClientIP that is programmed on the client's node.
    Steps: on that node insert a rule before the Service's own, so that none of them is reached; create another Service;
        patch the timeout of the first.
    Expected: the node has the rules of the other Service; after its own change it has those of the first, and the
        foreign rule is gone; no sync failed.
    """
    verdict = judge_blocking_rule(blocking_rule)

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
    Steps: cut the connections of the node's kube-proxy to the API server, so that no change of a Service makes it write
        rules (where its syncPeriod is short enough for that); write the node's mangle, nat and filter tables anew
        without anything of kube-proxy's, as a firewall does that loads its own rules; read the node twice a second.
    Expected: all rules are restored within kube-proxy's syncPeriod, plus 5 seconds that it waits for all tables to be
        flushed, plus one sync.
    """
    verdict = judge_repair(flush.result())

    check(verdict)


@claim(
    "C48b",
    "A flushed nat table is restored within the sync period",
    promised_by=KUBE_PROXY,
    source=sources.IPTABLES_MONITOR,
    modes=IPTABLES,
    known=(known_behaviour.NAT_TABLE_FLUSHED,),
)
@pytest.mark.disruptive
def test_a_flushed_nat_table_is_restored_within_the_sync_period(nat_repair: Repair, check: Check) -> None:
    """Somebody who flushes the nat table alone breaks every Service on the node, and nothing says so.

    Preconditions: a Service with ClientIP that is programmed on a node other than the client's.
    Steps: cut the connections of the node's kube-proxy to the API server, so that no change of a Service makes it write
        rules; write the node's nat table anew without anything of kube-proxy's; read the node twice a second.
    Expected: all rules are restored within kube-proxy's syncPeriod, plus 5 seconds, plus one sync.
    """
    verdict = judge_repair(nat_repair)

    check(verdict)


@claim(
    "C48c",
    "A deleted nftables table is written again within the sync period of the next change",
    promised_by=KUBE_PROXY,
    source=sources.FULL_SYNC,
    modes=NFTABLES,
)
@pytest.mark.disruptive
def test_a_deleted_table_is_written_again_after_the_next_change(repair_by_changes: Repair, check: Check) -> None:
    """nft flush ruleset, as in the configuration of many distributions, deletes kube-proxy's table with all others.

    Preconditions: a Service with ClientIP that is programmed on a node other than the client's.
    Steps: delete kube-proxy's table on the node; create another Service; read the node twice a second.
    Expected: the sync of the new Service fails and is repeated as a full one: all rules are restored within
        kube-proxy's syncPeriod, plus 5 seconds, plus one sync.
    """
    verdict = judge_repair(repair_by_changes)

    check(verdict)


@claim(
    "C48d",
    "A deleted nftables table is written again within the sync period",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
    known=(known_behaviour.TABLE_DELETED,),
)
@pytest.mark.disruptive
def test_a_deleted_table_is_written_again_within_the_sync_period(quiet_repair: Repair, check: Check) -> None:
    """Without a change of a Service a node whose firewall was loaded anew stays without any Service.

    Preconditions: a Service with ClientIP that is programmed on a node other than the client's.
    Steps: cut the connections of the node's kube-proxy to the API server, so that no change of a Service makes it write
        rules; delete its table; read the node twice a second.
    Expected: all rules are restored within kube-proxy's syncPeriod, plus 5 seconds, plus one sync.
    """
    verdict = judge_repair(quiet_repair)

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
