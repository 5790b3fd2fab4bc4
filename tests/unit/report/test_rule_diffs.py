"""Diffs of expected and actual rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.report.rule_diffs import rules_diff
from tests import rendered_nodes
from tests.unit.verdicts.conftest import PROXIES, PROXY

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from tests.unit.verdicts.conftest import World


def read(state: NodeSnapshot) -> NodeSnapshot:
    return replace(state, program="iptables-save", variant="nf_tables")


def diff(world: World, *states: NodeSnapshot, thorough: bool = True) -> list[str]:
    by_node = {state.node: read(state) for state in states}
    return rules_diff(IPTABLES, world.service, PROXIES, by_node, thorough=thorough).splitlines()


@pytest.mark.parametrize("thorough", [True, False])
def test_nodes_with_expected_rules_are_shown_once(world: World, *, thorough: bool) -> None:
    lines = diff(world, world.programmed("a"), world.programmed("b"), thorough=thorough)

    assert lines[0] == "# a, b: as expected"
    assert not [line for line in lines if line[:1] in "!-+" and line]
    assert len([line for line in lines if "--rcheck" in line]) == 3


@pytest.mark.parametrize("thorough", [True, False])
def test_a_wrong_rule_follows_the_expected_one(world: World, *, thorough: bool) -> None:
    wrong = world.programmed("b", replace=("--seconds 30 ", "--seconds 3600 "))

    lines = diff(world, world.programmed("a"), wrong, thorough=thorough)

    assert lines[0].startswith("# b: not as expected")
    assert lines[1].startswith("! KUBE-SVC-")
    assert "--seconds 3600, expected 30" in lines[1]
    signs = [line[0] for line in lines if "--rcheck" in line]
    assert signs == ["-", "-", "-", "+", "+", "+", " ", " ", " "]
    assert "# a: as expected" in lines


def test_a_missing_rule_has_only_a_minus(world: World) -> None:
    lines = diff(world, world.programmed("a", without="statistic --mode random --probability 0.5"))

    assert [line[0] for line in lines if line[0] in "-+"] == ["-"]


def test_a_difference_in_format_is_not_shown(world: World) -> None:
    lines = diff(world, world.programmed("a", replace=(" --mask 255.255.255.255", "")), thorough=False)

    assert lines[0] == "# a: as expected"


def test_a_thorough_diff_has_leftovers_of_former_endpoints(world: World) -> None:
    gone = replace(world.service.ports[0].endpoints[2], address="10.10.9.9")
    before = replace(
        world.service, ports=(replace(world.service.ports[0], endpoints=(*world.service.ports[0].endpoints, gone)),)
    )
    lines = rendered_nodes.iptables_text([world.service], PROXY).splitlines()
    left = [str(rule) for rule in iptables_expected.expected(before, PROXY).rules if "10.10.9.9" in str(rule)]
    text = "\n".join([*lines, "*nat", *left, "COMMIT"])
    state = replace(world.programmed("a"), ruleset=iptables_save.parse(text))

    assert any("10.10.9.9" in line for line in diff(world, state) if line.startswith("!"))


def test_a_node_whose_rules_were_not_read_is_left_out(world: World) -> None:
    assert rules_diff(IPTABLES, world.service, PROXIES, {"a": world.programmed("a")}) == ""
