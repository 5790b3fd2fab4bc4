"""Services that nodes must program alike, and Services that nodes must not program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.verdicts.equivalence import RulesByNode, judge_equivalence, judge_not_programmed

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

SPEC: dict[str, Any] = {"sessionAffinity": "ClientIP", "type": "ClusterIP"}
RULES: RulesByNode = {"worker": ("rule a", "rule b"), "worker2": ("rule a", "rule b")}


def test_the_same_specification_and_rules_hold(world: World) -> None:
    verdict = judge_equivalence(world.service, (SPEC, dict(reversed(SPEC.items()))), (RULES, RULES))

    assert verdict.ok
    assert "2 rules on 2 nodes" in verdict.headline


@pytest.mark.parametrize(
    ("spec", "rules", "where", "seen"),
    [
        pytest.param({**SPEC, "type": "NodePort"}, RULES, "the API", "- type: ClusterIP\n+ type: NodePort", id="spec"),
        pytest.param(SPEC, {**RULES, "worker2": ("rule a",)}, "worker2", "- rule b", id="a rule less"),
        pytest.param(SPEC, {"worker": RULES["worker"]}, "worker2", "- rule a\n- rule b", id="none at all"),
        pytest.param(SPEC, {**RULES, "worker": ("rule b", "rule a")}, "worker", "rule", id="another order"),
    ],
)
def test_a_difference_does_not_hold(
    world: World, spec: dict[str, Any], rules: RulesByNode, where: str, seen: str
) -> None:
    (finding,) = judge_equivalence(world.service, (SPEC, spec), (RULES, rules)).findings

    assert finding.where == where
    assert seen in finding.seen


def test_nodes_without_rules_are_not_the_same(world: World) -> None:
    assert not judge_equivalence(world.service, (SPEC, SPEC), ({"worker": ()}, {"worker": ()})).ok


def test_services_without_rules_hold() -> None:
    assert judge_not_programmed({"default/bare": {"worker": [], "worker2": []}}, RULES).ok


def test_a_chain_of_such_a_service_does_not_hold() -> None:
    objects = {"default/bare": {"worker": ["chain x"], "worker2": []}}

    (finding,) = judge_not_programmed(objects, RULES).findings

    assert (finding.where, finding.what, finding.seen) == ("worker", "default/bare", "chain x")


def test_a_node_without_rules_of_a_later_service_does_not_hold() -> None:
    (finding,) = judge_not_programmed({"default/bare": {"worker": []}}, {"worker": ()}).findings

    assert "created after them" in finding.expected
