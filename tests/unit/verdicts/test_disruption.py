"""Rules and clients of nodes that are disturbed, judged by observations written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.xt_recent import Entry
from session_affinity.errors import NotReadyError
from session_affinity.nodes.kube_proxy import FailureCounter
from session_affinity.scenarios.disruption.flush import Repair
from session_affinity.scenarios.disruption.many_services import ManyServices
from session_affinity.scenarios.disruption.outages import BlockingRule, KubeProxyRestart, MissedChanges, NodeRules
from session_affinity.testbed.testbed import SyncResult
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
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit
A, B = "webpod1", "webpod2"
IPV4, IPV6 = (FailureCounter("a transaction of nft failed", family) for family in ("IPv4", "IPv6"))
FAILED: dict[FailureCounter, int] = {IPV4: 1}
WRONG = Difference("a", "KUBE-SVC-X", 3, Aspect.UNEXPECTED_RULE, "no such rule", "-j RETURN", "Service default/x")


def affinity_entries(world: World, *stamps: int, store: str = "list-1") -> tuple[AffinityEntry, ...]:
    entry = Entry("10.10.0.6", 64, max(stamps), len(stamps), stamps)
    return (AffinityEntry(store, world.service.endpoints[0], "10.10.0.6", 100.0, entry),)


def node_rules(world: World, *differences: Difference) -> NodeRules:
    return NodeRules("a", ((world.service, differences),), 1.5)


def restart(world: World, **changes: object) -> KubeProxyRestart:
    entry = affinity_entries(world, 1, 2)
    after = affinity_entries(world, 1, 2, 3)
    usual = KubeProxyRestart(
        *(world.service, world.answers(A, A), entry, after, node_rules(world), 0.7, world.service, ()),
        changes_made(world),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_restart_without_effect_holds(world: World) -> None:
    verdict = judge_restart(restart(world), CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "2 requests answered, down for 0.7 s, entry and rules kept"


def test_a_restart_that_affects_a_client_does_not_hold(world: World) -> None:
    for effect in ({"answers": world.answers(A, B)}, {"answers": world.answers(A, None)}):
        assert not judge_restart(restart(world, **effect), CLIENT_ID).ok


def test_an_entry_made_anew_in_a_restart_is_wrong(world: World) -> None:
    anew = restart(world, after=affinity_entries(world, 8, 9))
    elsewhere = restart(world, after=affinity_entries(world, 1, 2, store="list-2"))
    gone = restart(world, after=())

    assert [judge_restart(seen, CLIENT_ID).headline for seen in (anew, elsewhere, gone)] == ["entry lost"] * 3


def test_an_entry_whose_stamps_were_all_replaced_may_be_the_same(world: World) -> None:
    busy = restart(world, after=affinity_entries(world, *range(10, 42)))

    assert judge_restart(busy, CLIENT_ID).ok


def test_a_restart_is_not_judged_by_a_client_that_had_no_time_to_run(world: World) -> None:
    lost = [*[A] * 10, None, *[A] * 10]
    late, in_time, elsewhere = (
        restart(world, answers=world.stream(*answers, pause=pause))
        for answers, pause in ((lost, 0.25), (lost, 0.05), ([*lost, B], 0.25))
    )

    for judge in (judge_restart, judge_restart_by_answers):
        with pytest.raises(NotReadyError, match="1 of 21 requests timed out"):
            judge(late, CLIENT_ID)
        assert not judge(in_time, CLIENT_ID).ok
        assert not judge(elsewhere, CLIENT_ID).ok


def test_rules_that_a_restart_did_not_mend_are_wrong(world: World) -> None:
    verdict = judge_restart(restart(world, rules=node_rules(world, WRONG)), CLIENT_ID)

    assert "-j RETURN" in explained(verdict)


def changes_made(world: World, **changes: object) -> MissedChanges:
    entry, service = affinity_entries(world, 1), world.service
    usual = MissedChanges(
        *(service, service, service, service, replace(service, cluster_ips=("10.200.1.99",)), service),
        *(world.answers(A), world.answers(A, A), world.answers(None), (world.answers(A, None),)),
        1.5,
        node_rules(world),
        entry,
        entry,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_changes_that_kube_proxy_did_not_write_are_right_when_all_of_them_arrived(world: World) -> None:
    assert judge_missed_changes(changes_made(world)).headline == "2 changes right 1.5 s after the outage, entry kept"
    assert judge_missed_changes(changes_made(world)).ok


def test_clients_see_that_all_of_them_arrived(world: World) -> None:
    verdict = judge_missed_changes_by_answers(changes_made(world), CLIENT_ID)

    assert verdict.ok
    assert verdict.headline == "2 requests right, the client kept"


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({"answers": ("webpod1", "webpod2")}, "webpod1 1, webpod2 1"),
        ({"answers": ("webpod2", "webpod2")}, "answered by webpod1, which the client is bound to"),
        ({"first": (None,)}, "answered by an endpoint before the outage"),
        ({"gone": ("webpod1",)}, "no answer: the Service was deleted"),
    ],
)
def test_clients_see_what_did_not_arrive(answers: dict[str, tuple[str | None, ...]], text: str, world: World) -> None:
    seen = {name: world.answers(*pods) for name, pods in answers.items()}

    verdict = judge_missed_changes_by_answers(changes_made(world, **seen), CLIENT_ID)

    assert not verdict.ok
    assert text in explained(verdict)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("rules", "-j RETURN"),
        ("after", "no entry"),
        ("off_entries", "no affinity entry under None"),
        ("deleted_objects", "list KUBE-SEP-X"),
    ],
)
def test_each_change_that_did_not_arrive_is_wrong(what: str, text: str, world: World) -> None:
    wrong = {
        "rules": node_rules(world, WRONG),
        "after": (),
        "off_entries": affinity_entries(world, 1),
        "deleted_objects": ("list KUBE-SEP-X",),
    }

    verdict = judge_missed_changes(changes_made(world, **{what: wrong[what]}))

    assert not verdict.ok
    assert text in explained(verdict)


def test_a_blocking_rule_that_affects_no_other_service_holds(world: World) -> None:
    right, wrong = node_rules(world), node_rules(world, WRONG)
    same = (FAILED, FAILED)

    assert judge_blocking_rule(BlockingRule(right, right, same)).ok
    assert not judge_blocking_rule(BlockingRule(wrong, right, same)).ok
    assert not judge_blocking_rule(BlockingRule(right, wrong, same)).ok
    assert "3 failed syncs, 2 more" in explained(judge_blocking_rule(BlockingRule(right, right, (FAILED, {IPV4: 3}))))


def test_rules_that_differ_are_named_with_their_service(world: World) -> None:
    other = replace(world.service, name="affinity-other")

    verdict = judge_node_rules(NodeRules("a", ((other, ()), (world.service, (WRONG,))), 1.5))

    assert world.service.key in explained(verdict)
    assert "affinity-other" not in explained(verdict)


def test_syncs_that_failed_meanwhile_are_wrong_and_those_before_are_not() -> None:
    before = {"a": {IPV4: 2, IPV6: 0}, "b": {IPV4: 0}}

    assert judge_failed_syncs(before, before).ok
    assert judge_failed_syncs({"a": {IPV4: 2}}, {"a": {IPV4: 0}}).ok, "kube-proxy was restarted in between"
    assert "does not hold on b" in explained(judge_failed_syncs(before, {**before, "b": {IPV4: 1}}))


def test_a_failed_sync_is_named_with_what_failed_and_the_family() -> None:
    verdict = judge_failed_syncs({"a": {IPV4: 2}}, {"a": {IPV4: 2, IPV6: 1}})

    assert "1 failed syncs, 1 more: a transaction of nft failed (IPv6)" in explained(verdict)


def test_a_flush_is_repaired_when_nothing_differs_in_the_end(world: World) -> None:
    repair = Repair(world.service, "a", 30.0, 45.0, 12.0, ())

    assert judge_repair(repair).headline == "repaired in 12.0 s, syncPeriod 30 s"
    assert not judge_repair(replace(repair, differences=(WRONG,), took=45.0)).ok


def many_services(world: World, **changes: object) -> ManyServices:
    states = {name: world.programmed(name) for name in ("a", "b")}
    sync = SyncResult((world.service,), states, {"a": 1.0, "b": 2.0}, {"a": (), "b": ()}, {}, 2.0)
    usual = ManyServices(world.service, world.service, world.answers(A), world.answers(A, A), world.answers(B, B), sync)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_many_services_that_change_nothing_hold(world: World) -> None:
    assert (
        judge_many_services(many_services(world), CLIENT_ID).headline == "right on every node after 2.00 s, client kept"
    )


def test_many_services_that_move_or_spread_a_client_do_not_hold(world: World) -> None:
    assert not judge_many_services(many_services(world, again=world.answers(B, B)), CLIENT_ID).ok
    assert not judge_many_services(many_services(world, answers=world.answers(A, B)), CLIENT_ID).ok


def test_a_client_that_was_not_answered_at_first_does_not_hold(world: World) -> None:
    lost = many_services(world, first=world.answers(None), again=world.answers(A, B))

    assert "expected: an answer before the others were created" in explained(judge_many_services(lost, CLIENT_ID))


def test_many_services_are_judged_by_behaviour_where_no_node_can_be_read(world: World) -> None:
    unread = many_services(world, sync=SyncResult((world.service,), {}, {}, {}, {}, 2.0))

    assert judge_many_services(unread, CLIENT_ID).headline == "client kept"
