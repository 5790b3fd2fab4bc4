"""The expectations of legs: counted from the collected tests, written and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.matrix import expectations
from session_affinity.errors import SuiteError
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

LEG = Leg("1.37", "nftables", "kind", "dual")
TESTS = [["C10", False, "one endpoint"], ["C10", False, "one endpoint"], ["C16", True, "iptables rules"]]


def test_tests_are_counted_by_claim_and_by_whether_a_rule_skips_them() -> None:
    titles = {"C10": "one endpoint", "C16": "iptables rules"}

    assert expectations.expectation_of(LEG, TESTS) == expectations.Expectation(LEG, {"C10": 2}, {"C16": 1}, titles)


@pytest.mark.parametrize(("mode", "is_judged"), [("iptables", True), ("nftables", False)])
def test_what_the_default_settings_of_a_mode_rule_out_is_not_expected_to_be_judged(
    mode: str, *, is_judged: bool
) -> None:
    expected = expectations.expectation_of(Leg("1.37", mode, "kind"), [["C31c", False, "localhost"]])

    assert (bool(expected.judged), bool(expected.skipped)) == (is_judged, not is_judged)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    ipv4 = Leg("1.37", "nftables", "kind")
    plan = expectations.Plan(tuple(expectations.expectation_of(leg, TESTS) for leg in (LEG, ipv4)))
    plan.write(tmp_path / "new" / "plan.json")

    assert expectations.read(tmp_path / "new" / "plan.json") == plan


def test_the_titles_of_a_plan_are_those_of_all_its_legs() -> None:
    other = expectations.expectation_of(Leg("1.36", "iptables", "kind"), [["C45", False, "both families"]])

    assert list(expectations.Plan((expectations.expectation_of(LEG, TESTS), other)).titles) == ["C10", "C16", "C45"]


@pytest.mark.parametrize("content", ["", "{}", '{"legs": [{}]}', "[]"])
def test_another_file_is_not_a_plan(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)

    with pytest.raises(SuiteError, match=r"plan\.json is not a plan"):
        expectations.read(tmp_path / "plan.json")
