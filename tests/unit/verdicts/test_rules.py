"""Rules judged aspect by aspect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.iptables import compare as iptables_compare
from session_affinity.dataplane.model import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.verdicts.rules import (
    ASPECTS,
    judge_aspects,
    judge_no_memory,
    judge_same_everywhere,
    judge_timeouts,
)

if TYPE_CHECKING:
    from conftest import World
    from session_affinity.verdicts.verdict import Verdict

PROXY = ProxyConfig("iptables", "10.10.0.0/16")
GOOD, BAD = "myk8s-worker", "myk8s-worker2"


def judge(claim: str, world: World, bad: NodeSnapshot) -> Verdict:
    states = (world.programmed(GOOD), bad)
    differences = {
        state.node: iptables_compare.compare(state.node, world.service, PROXY, state.ruleset) for state in states
    }
    return judge_aspects(claim, world.service, differences, 1.0)


@pytest.mark.parametrize("claim", list(ASPECTS))
def test_right_rules_hold(claim: str, world: World) -> None:
    verdict = judge(claim, world, world.programmed(BAD))

    assert verdict.ok
    assert verdict.headline == "as computed on 2 nodes"


@pytest.mark.parametrize(
    ("claim", "without", "change"),
    [
        pytest.param("C15", "--rcheck", ("", ""), id="no-rcheck"),
        pytest.param("C16", "", ("--seconds 30", "--seconds 3600"), id="seconds"),
        pytest.param("C17", "", ("0.33333333333", "0.5"), id="probability"),
        pytest.param("C18", "", ("-m recent --set", "-m comment --comment"), id="no-set"),
        pytest.param("C51", "-A KUBE-SERVICES", ("", ""), id="no-entry"),
    ],
)
def test_a_defect_fails_its_claim_and_names_the_node(
    claim: str, without: str, change: tuple[str, str], world: World
) -> None:
    bad = world.programmed(BAD, without, change)

    verdict = judge(claim, world, bad)

    assert {finding.where for finding in verdict.findings} == {BAD}
    assert verdict.explain().startswith(f"{claim} does not hold on {BAD}: ")


@pytest.mark.parametrize("claim", list(ASPECTS))
def test_a_node_without_rules_fails_every_claim(claim: str, world: World) -> None:
    verdict = judge(claim, world, NodeSnapshot(BAD))

    assert not verdict.ok
    assert verdict.explain().startswith(f"{claim} does not hold on {BAD}: ")


def test_a_node_without_any_rule_raises_the_question_of_kube_proxy(world: World) -> None:
    text = judge("C14", world, NodeSnapshot(BAD)).explain()

    assert f"no chain of the Service at all on {BAD}: is kube-proxy running there?" in text


def test_every_aspect_is_spoken_of() -> None:
    assert {aspect for aspects in ASPECTS.values() for aspect in aspects} == set(Aspect)


def test_no_memory_holds_without_affinity(world: World) -> None:
    plain = replace(world, service=replace(world.service, session_affinity="None", timeout_seconds=None))

    assert judge_no_memory(IPTABLES, plain.service, {GOOD: plain.programmed(GOOD)}).ok


def test_a_recent_rule_without_affinity_does_not_hold(world: World) -> None:
    verdict = judge_no_memory(IPTABLES, world.service, {GOOD: world.programmed(GOOD)})

    assert "expected: no rule that asks a list or adds to it" in verdict.explain()


def test_no_rule_at_all_is_no_proof_of_no_memory(world: World) -> None:
    assert not judge_no_memory(IPTABLES, world.service, {GOOD: NodeSnapshot(GOOD)}).ok


def test_equal_nodes_hold(world: World) -> None:
    verdict = judge_same_everywhere(IPTABLES, world.service, {name: world.programmed(name) for name in (GOOD, BAD)})

    assert verdict.ok
    assert "the same on 2 of 2 nodes" in verdict.headline


def test_the_node_that_differs_from_most_is_named_with_its_rules(world: World) -> None:
    names = ("myk8s-control-plane", GOOD, "myk8s-worker3")
    states = {name: world.programmed(name) for name in names}
    states[BAD] = world.programmed(BAD, replace=("--seconds 30", "--seconds 3600"))

    verdict = judge_same_everywhere(IPTABLES, world.service, states)

    (finding,) = verdict.findings
    assert finding.where == BAD
    assert "--seconds 3600" in finding.seen
    assert "+ -A KUBE-SVC-" in finding.seen


def test_timeouts_of_several_services_are_told(world: World) -> None:
    verdict = judge_timeouts(IPTABLES, [world.service], {GOOD: world.programmed(GOOD)})

    assert verdict.ok
    assert verdict.headline == "30 s on 1 nodes"


@pytest.mark.parametrize("state", [NodeSnapshot(BAD), None], ids=["no-rules", "another-timeout"])
def test_a_timeout_that_is_not_programmed_does_not_hold(world: World, state: NodeSnapshot | None) -> None:
    bad = state or world.programmed(BAD, replace=("--seconds 30", "--seconds 10800"))

    verdict = judge_timeouts(IPTABLES, [world.service], {GOOD: world.programmed(GOOD), BAD: bad})

    assert [finding.where for finding in verdict.findings] == [BAD]
    assert "expected: 3 lists with 30 s" in verdict.explain()
