"""What becomes of rules and clients when nodes are disturbed, judged by observations written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.xt_recent import Entry
from session_affinity.scenarios.disruption.flush import Repair
from session_affinity.scenarios.disruption.many_services import ManyServices
from session_affinity.scenarios.disruption.outages import BlockingRule, ChangesWhileStopped, NodeRules, Restart
from session_affinity.testbed.testbed import SyncResult
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
    from conftest import World

pytestmark = pytest.mark.unit
A, B = "webpod1", "webpod2"
WRONG = Difference("a", "KUBE-SVC-X", 3, Aspect.UNEXPECTED_RULE, "no such rule", "-j RETURN", "Service default/x")


def affinity_entries(world: World, *stamps: int, memory: str = "list-1") -> tuple[AffinityEntry, ...]:
    entry = Entry("10.10.0.6", 64, max(stamps), len(stamps), stamps)
    return (AffinityEntry(memory, world.service.endpoints[0], "10.10.0.6", 100.0, entry),)


def held(world: World, *differences: Difference) -> NodeRules:
    return NodeRules("a", ((world.service, differences),), 1.5)


def restart(world: World, **changes: object) -> Restart:
    entry = affinity_entries(world, 1, 2)
    usual = Restart(world.service, world.answers(A, A), entry, affinity_entries(world, 1, 2, 3), held(world), 0.7)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_restart_that_nobody_noticed_is_right(world: World) -> None:
    verdict = judge_restart(restart(world), "net-pod")

    assert verdict.ok
    assert verdict.headline == "2 requests answered, down for 0.7 s, entry and rules kept"


def test_a_restart_that_a_client_noticed_is_wrong(world: World) -> None:
    for noticed in ({"answers": world.answers(A, B)}, {"answers": world.answers(A, None)}):
        assert not judge_restart(restart(world, **noticed), "net-pod").ok


def test_an_entry_made_anew_in_a_restart_is_wrong(world: World) -> None:
    anew = restart(world, after=affinity_entries(world, 8, 9))
    elsewhere = restart(world, after=affinity_entries(world, 1, 2, memory="list-2"))
    gone = restart(world, after=())

    assert [judge_restart(one, "net-pod").headline for one in (anew, elsewhere, gone)] == ["entry lost"] * 3


def test_an_entry_whose_stamps_were_all_replaced_may_be_the_same(world: World) -> None:
    busy = restart(world, after=affinity_entries(world, *range(10, 42)))

    assert judge_restart(busy, "net-pod").ok


def test_rules_that_a_restart_did_not_mend_are_wrong(world: World) -> None:
    verdict = judge_restart(restart(world, held=held(world, WRONG)), "net-pod")

    assert "-j RETURN" in verdict.explain()


def toggle(world: World, **changes: object) -> ChangesWhileStopped:
    entry = affinity_entries(world, 1)
    usual = ChangesWhileStopped(held(world), world.service, entry, entry, world.service, (), world.service, ())
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_changes_that_kube_proxy_did_not_see_are_right_when_all_of_them_arrived(world: World) -> None:
    assert judge_toggle(toggle(world)).ok


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("held", "-j RETURN"),
        ("after", "no entry"),
        ("off_remembers", "nobody remembered under None"),
        ("gone_left", "list KUBE-SEP-X"),
    ],
)
def test_each_change_that_did_not_arrive_is_wrong(what: str, says: str, world: World) -> None:
    wrong = {
        "held": held(world, WRONG),
        "after": (),
        "off_remembers": affinity_entries(world, 1),
        "gone_left": ("list KUBE-SEP-X",),
    }

    verdict = judge_toggle(toggle(world, **{what: wrong[what]}))

    assert not verdict.ok
    assert says in verdict.explain()


def test_a_rule_in_the_way_is_right_when_it_stopped_nobody(world: World) -> None:
    right, wrong = held(world), held(world, WRONG)

    assert judge_obstacle(BlockingRule(right, right, (1, 1))).ok
    assert not judge_obstacle(BlockingRule(wrong, right, (1, 1))).ok
    assert not judge_obstacle(BlockingRule(right, wrong, (1, 1))).ok
    assert "2 failed syncs" in judge_obstacle(BlockingRule(right, right, (1, 3))).explain()


def test_what_a_node_holds_is_wrong_with_the_service_that_differs(world: World) -> None:
    other = replace(world.service, name="affinity-other")

    verdict = judge_held(NodeRules("a", ((other, ()), (world.service, (WRONG,))), 1.5))

    assert world.service.key in verdict.explain()
    assert "affinity-other" not in verdict.explain()


def test_syncs_that_failed_meanwhile_are_wrong_and_those_before_are_not() -> None:
    assert judge_no_failed_sync({"a": 2, "b": 0}, {"a": 2, "b": 0}).ok
    assert judge_no_failed_sync({"a": 2}, {"a": 0}).ok, "it was started anew meanwhile"
    assert "does not hold on b" in judge_no_failed_sync({"a": 2, "b": 0}, {"a": 2, "b": 1}).explain()


def test_a_flush_is_repaired_when_nothing_differs_in_the_end(world: World) -> None:
    repair = Repair(world.service, "a", 30.0, 45.0, 12.0, ())

    assert judge_repair(repair).headline == "repaired in 12.0 s, syncPeriod 30 s"
    assert not judge_repair(replace(repair, differences=(WRONG,), took=45.0)).ok


def many_services(world: World, **changes: object) -> ManyServices:
    sync = SyncResult((world.service,), {}, {"a": 1.0, "b": 2.0}, {"a": (), "b": ()}, {}, 2.0)
    usual = ManyServices(world.service, world.service, world.answers(A), world.answers(A, A), world.answers(B, B), sync)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_crowd_that_changes_nothing_is_right(world: World) -> None:
    assert (
        judge_many_services(many_services(world), "net-pod").headline == "right on every node after 2.00 s, client kept"
    )


def test_a_crowd_that_moves_or_spreads_a_client_is_wrong(world: World) -> None:
    assert not judge_many_services(many_services(world, again=world.answers(B, B)), "net-pod").ok
    assert not judge_many_services(many_services(world, answers=world.answers(A, B)), "net-pod").ok
