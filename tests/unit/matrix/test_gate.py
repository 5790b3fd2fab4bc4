"""The gate has a line for everything that is wrong with a matrix, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ci.matrix import gate
from ci.matrix.expectations import Expectation, Plan
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from ci.matrix.results import Result

pytestmark = pytest.mark.unit


def faults(plan: Plan, results: tuple[Result, ...]) -> tuple[str, ...]:
    return gate.judge(plan, results).faults


def test_the_gate_is_open_when_every_leg_judged_all_its_claims(plan: Plan, conforming: tuple[Result, ...]) -> None:
    verdict = gate.judge(plan, conforming)

    assert verdict.is_open
    assert verdict.text == "gate open: 2 of 2 legs with results; 3 passed, 0 failed, 0 broken, 1 skipped"


def test_a_missing_leg_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    verdict = gate.judge(plan, conforming[:2])

    assert not verdict.is_open
    assert verdict.text.splitlines() == [
        "gate shut: 1 of 2 legs with results; 2 passed, 0 failed, 0 broken, 0 skipped",
        "  1.37 nftables embedded: no results",
    ]


def test_a_claim_that_did_not_run_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert faults(plan, conforming[1:]) == ("1.36 iptables embedded: C10 did not run",)


def test_a_skipped_claim_that_is_missing_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert faults(plan, conforming[:-1]) == ("1.37 nftables embedded: C16 did not run",)


def test_a_skip_by_no_rule_known_at_collection_shuts_it_with_its_reason(
    plan: Plan, conforming: tuple[Result, ...]
) -> None:
    old = (replace(conforming[0], status="skipped", message="no node access\nmore"), *conforming[1:])

    assert faults(plan, old) == ("1.36 iptables embedded: C10 was skipped unexpectedly: no node access",)


def test_a_claim_that_differs_as_known_was_judged(plan: Plan, conforming: tuple[Result, ...]) -> None:
    verdict = gate.judge(plan, (replace(conforming[0], status="differs"), *conforming[1:]))

    assert verdict.text == "gate open: 2 of 2 legs with results; 2 passed, 0 failed, 0 broken, 1 skipped, 1 differs"


@pytest.mark.parametrize("status", ["failed", "broken"])
def test_a_claim_that_does_not_pass_shuts_it(plan: Plan, conforming: tuple[Result, ...], status: str) -> None:
    old = (replace(conforming[0], status=status, message="C10 does not hold\nat length"), *conforming[1:])

    assert faults(plan, old) == (f"1.36 iptables embedded: C10 {status}: C10 does not hold",)


def test_a_later_pass_does_not_hide_an_earlier_failure(plan: Plan, conforming: tuple[Result, ...]) -> None:
    first = replace(conforming[0], status="failed", message="moved", started=-1)

    assert faults(plan, (first, *conforming)) == ("1.36 iptables embedded: C10 failed: moved",)


def test_a_failure_on_a_leg_outside_the_plan_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    other = replace(conforming[0], leg=Leg("1.35", "iptables", "kind"), status="failed", message="moved")

    assert faults(plan, (*conforming, other)) == ("1.35 iptables kind: C10 failed: moved",)


def test_every_test_of_a_claim_has_to_run(conforming: tuple[Result, ...]) -> None:
    two_tests = Plan((Expectation(conforming[0].leg, {"C10": 2}, {}, {}),))

    assert faults(two_tests, conforming[:1]) == ("1.36 iptables embedded: C10 did not run in 1 of 2 tests",)
    assert faults(two_tests, (conforming[0], conforming[0])) == ()


def test_a_dual_stack_leg_is_not_covered_by_the_results_of_the_ipv4_leg(
    plan: Plan, conforming: tuple[Result, ...]
) -> None:
    dual = replace(plan.expectations[0], leg=replace(plan.legs[0], family="dual"))

    assert faults(Plan((*plan.expectations, dual)), conforming) == ("1.36 iptables embedded dual: no results",)
