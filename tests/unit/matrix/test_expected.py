"""What a leg has to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.matrix import expected
from ci.matrix.legs import Leg
from session_affinity.claims import CATALOGUE
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

LEG = Leg("1.37", "nftables", "kind")


def test_tests_are_counted_by_claim_and_by_whether_a_rule_skips_them() -> None:
    found = expected.counted(LEG, [["C10", False], ["C10", False], ["C16", True]])

    assert found == expected.Expectation(LEG, {"C10": 2}, {"C16": 1})


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = expected.Plan((expected.counted(LEG, [["C10", False], ["C16", True]]),), whole=True)
    plan.write(tmp_path / "new" / "expected.json")

    assert expected.read(tmp_path / "new" / "expected.json") == plan


def test_the_reports_gate_is_told_how_many_tests_a_leg_judges(tmp_path: Path) -> None:
    import json

    plan = expected.Plan((expected.counted(LEG, [["C10", False], ["C10", False], ["C16", True]]),), whole=True)
    plan.write(tmp_path / "expected.json")

    (leg,) = json.loads((tmp_path / "expected.json").read_text())["legs"]
    assert (leg["id"], leg["name"], leg["judged"]) == ("k8s-1-37-nftables-kind", "1.37 nftables kind", 2)


@pytest.mark.parametrize("content", ["", "{}", '{"legs": [{}], "whole": true}', "[]"])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "expected.json").write_text(content)

    with pytest.raises(SuiteError, match=r"expected\.json is not a plan"):
        expected.read(tmp_path / "expected.json")


def test_claims_without_a_test_are_known_when_nothing_was_deselected() -> None:
    one = expected.counted(LEG, [["C10", False]])

    assert expected.Plan((one,), whole=True).untested == tuple(claim for claim in CATALOGUE if claim != "C10")
    assert expected.Plan((one,), whole=False).untested == ()
