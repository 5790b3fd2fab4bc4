"""The gate names whatever keeps a matrix from conforming, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ci.matrix import gate
from ci.matrix.expected import Expectation, Plan
from ci.matrix.legs import Leg
from session_affinity.claims import CATALOGUE

if TYPE_CHECKING:
    from ci.matrix.results import Result

pytestmark = pytest.mark.unit


def test_the_gate_is_open_when_every_leg_judged_what_it_had_to(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert gate.faults(plan, conforming) == ()
    assert gate.told(plan, conforming, ()).startswith("gate open: 2 of 2 legs with results; 3 passed, 0 failed")


def test_a_missing_leg_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    found = gate.faults(plan, conforming[:2])

    assert found == ("1.37 nftables embedded: no results of this leg",)
    assert gate.told(plan, conforming[:2], found).splitlines()[0].startswith("gate shut: 1 of 2 legs")


def test_a_claim_that_did_not_run_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert gate.faults(plan, conforming[1:]) == ("1.36 iptables embedded: C10 did not run",)


def test_a_skipped_claim_that_is_missing_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert gate.faults(plan, conforming[:-1]) == ("1.37 nftables embedded: C16 did not run",)


def test_a_skip_that_no_rule_foresaw_shuts_it_with_its_reason(plan: Plan, conforming: tuple[Result, ...]) -> None:
    old = (replace(conforming[0], status="skipped", message="no node access\nmore"), *conforming[1:])

    assert gate.faults(plan, old) == ("1.36 iptables embedded: C10 was skipped, and was to be judged: no node access",)


@pytest.mark.parametrize("status", ["failed", "broken"])
def test_a_claim_that_does_not_pass_shuts_it(plan: Plan, conforming: tuple[Result, ...], status: str) -> None:
    old = (replace(conforming[0], status=status, message="C10 does not hold\nat length"), *conforming[1:])

    assert gate.faults(plan, old) == (f"1.36 iptables embedded: C10 {status}: C10 does not hold",)


def test_an_earlier_failure_is_not_made_good_by_a_later_pass(plan: Plan, conforming: tuple[Result, ...]) -> None:
    first = replace(conforming[0], status="failed", message="moved", started=-1)

    assert gate.faults(plan, (first, *conforming)) == ("1.36 iptables embedded: C10 failed: moved",)


def test_a_failure_on_a_leg_that_nobody_planned_shuts_it(plan: Plan, conforming: tuple[Result, ...]) -> None:
    other = replace(conforming[0], leg=Leg("1.35", "iptables", "kind"), status="failed", message="moved")

    assert gate.faults(plan, (*conforming, other)) == ("1.35 iptables kind: C10 failed: moved",)


def test_of_several_tests_of_a_claim_each_has_to_run(conforming: tuple[Result, ...]) -> None:
    twice = Plan((Expectation(conforming[0].leg, {"C10": 2}, {}),), whole=False)

    assert gate.faults(twice, conforming[:1]) == ("1.36 iptables embedded: C10 did not run in 1 of 2 tests",)
    assert gate.faults(twice, (conforming[0], conforming[0])) == ()


def test_every_claim_of_the_catalogue_needs_a_test_when_all_were_asked_for(conforming: tuple[Result, ...]) -> None:
    leg = conforming[0].leg
    but_one = {claim: 1 for claim in CATALOGUE if claim != "C23"}
    results = tuple(replace(conforming[0], claim=claim) for claim in but_one)

    assert gate.faults(Plan((Expectation(leg, but_one, {}),), whole=True), results) == ("no test checks C23",)
    assert gate.faults(Plan((Expectation(leg, but_one, {}),), whole=False), results) == ()
