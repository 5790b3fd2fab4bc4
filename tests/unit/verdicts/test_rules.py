"""Rules judged aspect by aspect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.iptables import compare as iptables_compare
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.verdicts.rules import (
    judge_aspects,
    judge_no_affinity_rules,
    judge_same_rules,
    judge_timeouts,
)
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from session_affinity.verdicts.verdict import Verdict
    from tests.unit.verdicts.conftest import World

PROXY = ProxyConfig("iptables", "10.10.0.0/16")
GOOD, BAD = "myk8s-worker", "myk8s-worker2"


def judge(world: World, bad: NodeSnapshot, *aspects: Aspect) -> Verdict:
    states = (world.programmed(GOOD), bad)
    differences = {
        state.node: iptables_compare.compare(state.node, world.service, PROXY, state.ruleset) for state in states
    }
    return judge_aspects(world.service, differences, 1.0, *aspects)


def test_right_rules_hold(world: World) -> None:
    verdict = judge(world, world.programmed(BAD))

    assert verdict.ok
    assert verdict.headline == "as computed on 2 nodes"


@pytest.mark.parametrize(
    ("aspect", "without", "change"),
    [
        pytest.param(Aspect.AFFINITY_PRESENCE, "--rcheck", ("", ""), id="no-rcheck"),
        pytest.param(Aspect.AFFINITY_ARGUMENTS, "", ("--seconds 30", "--seconds 3600"), id="seconds"),
        pytest.param(Aspect.PROBABILITY, "", ("0.33333333349", "0.5"), id="probability"),
        pytest.param(Aspect.TRANSLATION, "", ("-m recent --set", "-m comment --comment"), id="no-set"),
        pytest.param(Aspect.ENTRY, "-A KUBE-SERVICES", ("", ""), id="no-entry"),
    ],
)
def test_a_defect_fails_its_aspect_and_names_the_node(
    aspect: Aspect, without: str, change: tuple[str, str], world: World
) -> None:
    bad = world.programmed(BAD, without, change)

    verdict = judge(world, bad, aspect)

    assert {finding.where for finding in verdict.findings} == {BAD}
    assert explained(verdict).startswith(f"C16 does not hold on {BAD}: ")


def test_a_difference_of_another_aspect_holds(world: World) -> None:
    bad = world.programmed(BAD, replace=("--seconds 30", "--seconds 3600"))

    assert judge(world, bad, Aspect.PROBABILITY).ok


def test_a_node_without_rules_does_not_hold(world: World) -> None:
    verdict = judge(world, NodeSnapshot(BAD), Aspect.CHAIN_NAMES)

    assert explained(verdict).startswith(f"C16 does not hold on {BAD}: ")


def test_a_node_without_any_chain_points_to_kube_proxy(world: World) -> None:
    text = explained(judge(world, NodeSnapshot(BAD), Aspect.CHAIN_NAMES))

    assert f"no chain of the Service at all on {BAD}: is kube-proxy running there?" in text


def test_rules_without_affinity_hold(world: World) -> None:
    plain = replace(world, service=replace(world.service, session_affinity="None", timeout_seconds=None))

    assert judge_no_affinity_rules(IPTABLES, plain.service, {GOOD: plain.programmed(GOOD)}).ok


def test_a_recent_rule_without_affinity_does_not_hold(world: World) -> None:
    verdict = judge_no_affinity_rules(IPTABLES, world.service, {GOOD: world.programmed(GOOD)})

    assert "expected: no rule that reads a list or adds to it" in explained(verdict)


def test_a_node_without_any_rule_is_no_evidence_of_no_affinity(world: World) -> None:
    assert not judge_no_affinity_rules(IPTABLES, world.service, {GOOD: NodeSnapshot(GOOD)}).ok


def test_equal_nodes_hold(world: World) -> None:
    verdict = judge_same_rules(IPTABLES, world.service, {name: world.programmed(name) for name in (GOOD, BAD)})

    assert verdict.ok
    assert "the same on 2 of 2 nodes" in verdict.headline


def test_the_node_that_differs_from_most_is_named_with_its_rules(world: World) -> None:
    names = ("myk8s-control-plane", GOOD, "myk8s-worker3")
    states = {name: world.programmed(name) for name in names}
    states[BAD] = world.programmed(BAD, replace=("--seconds 30", "--seconds 3600"))

    verdict = judge_same_rules(IPTABLES, world.service, states)

    (finding,) = verdict.findings
    assert finding.where == BAD
    assert "--seconds 3600" in finding.seen
    assert "+ -A KUBE-SVC-" in finding.seen


def test_nodes_with_other_settings_are_compared_among_themselves(world: World) -> None:
    other = {"replace": ("! -s 10.10.0.0/16", "! -s 10.10.3.0/24")}
    states = {name: world.programmed(name) for name in ("a", "b")}
    states |= {name: world.programmed(name, **other) for name in ("c", "d")}

    together = judge_same_rules(IPTABLES, world.service, states)
    apart = judge_same_rules(IPTABLES, world.service, states, [("a", "b"), ("c", "d"), ("e",)])
    mixed = judge_same_rules(IPTABLES, world.service, states, [("a", "b", "c"), ("d",)])

    assert (together.ok, apart.ok) == (False, True)
    assert apart.headline.count("the same on 2 of 2 nodes") == 2
    assert [finding.where for finding in mixed.findings] == ["c"]


def test_the_timeout_of_the_service_holds(world: World) -> None:
    verdict = judge_timeouts(IPTABLES, [world.service], {GOOD: world.programmed(GOOD)})

    assert verdict.ok
    assert verdict.headline == "30 s on 1 nodes"


@pytest.mark.parametrize("state", [NodeSnapshot(BAD), None], ids=["no-rules", "another-timeout"])
def test_a_timeout_that_is_not_programmed_does_not_hold(world: World, state: NodeSnapshot | None) -> None:
    bad = state or world.programmed(BAD, replace=("--seconds 30", "--seconds 10800"))

    verdict = judge_timeouts(IPTABLES, [world.service], {GOOD: world.programmed(GOOD), BAD: bad})

    assert [finding.where for finding in verdict.findings] == [BAD]
    assert "expected: 3 lists with 30 s" in explained(verdict)
