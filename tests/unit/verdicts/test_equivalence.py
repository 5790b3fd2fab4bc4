"""Services that must be programmed alike, and Services that must not be programmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.verdicts.equivalence import RulesByNode, judge_nothing, judge_same

if TYPE_CHECKING:
    from conftest import World

SPEC: dict[str, Any] = {"sessionAffinity": "ClientIP", "type": "ClusterIP"}
RULES: RulesByNode = {"worker": ("rule a", "rule b"), "worker2": ("rule a", "rule b")}


def test_what_is_the_same_holds(world: World) -> None:
    verdict = judge_same(world.service, (SPEC, dict(reversed(SPEC.items()))), (RULES, RULES))

    assert verdict.ok
    assert "2 rules on 2 nodes" in verdict.headline


@pytest.mark.parametrize(
    ("spec", "held", "where", "seen"),
    [
        pytest.param({**SPEC, "type": "NodePort"}, RULES, "the API", "-type: ClusterIP\n+type: NodePort", id="spec"),
        pytest.param(SPEC, {**RULES, "worker2": ("rule a",)}, "worker2", "-rule b", id="a rule less"),
        pytest.param(SPEC, {"worker": RULES["worker"]}, "worker2", "-rule a\n-rule b", id="none at all"),
        pytest.param(SPEC, {**RULES, "worker": ("rule b", "rule a")}, "worker", "rule", id="another order"),
    ],
)
def test_what_differs_does_not(world: World, spec: dict[str, Any], held: RulesByNode, where: str, seen: str) -> None:
    (finding,) = judge_same(world.service, (SPEC, spec), (RULES, held)).findings

    assert finding.where == where
    assert seen in finding.seen


def test_nodes_without_rules_are_not_the_same(world: World) -> None:
    assert not judge_same(world.service, (SPEC, SPEC), ({"worker": ()}, {"worker": ()})).ok


def test_nothing_is_nothing() -> None:
    assert judge_nothing({"default/bare": {"worker": [], "worker2": []}}, RULES).ok


def test_something_is_told() -> None:
    (finding,) = judge_nothing({"default/bare": {"worker": ["chain x"], "worker2": []}}, RULES).findings

    assert (finding.where, finding.what, finding.seen) == ("worker", "default/bare", "chain x")


def test_a_node_that_knows_nothing_at_all_tells_nothing() -> None:
    (finding,) = judge_nothing({"default/bare": {"worker": []}}, {"worker": ()}).findings

    assert "made after them" in finding.expected
