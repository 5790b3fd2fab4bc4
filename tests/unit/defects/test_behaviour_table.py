"""The table of the defects that claims about behaviour notice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.defects.behaviour_table import BehaviourTable
from tests.defects.defect import Defect
from tests.defects.run_outcome import ERROR, FAILED, PASSED, ClaimOutcome, RunOutcome

if TYPE_CHECKING:
    from pathlib import Path


def defect(name: str) -> Defect:
    return Defect(name, lambda _: contextlib.nullcontext(), {"C16": ""})


def test_rows_are_in_order_and_replaced(tmp_path: Path) -> None:
    first, second, former = defect("first"), defect("second"), defect("former")
    file = tmp_path / "behaviour.json"
    run = RunOutcome({"C10": ClaimOutcome(FAILED), "C12": ClaimOutcome(PASSED), "C58": ClaimOutcome(ERROR)}, "")

    for recorded in (second, former, first):
        BehaviourTable((first, second, former), file).record(recorded, RunOutcome({}, ""))
    BehaviourTable((first, second), file).record(second, run)

    assert [row["defect"] for row in BehaviourTable((), file).rows()] == ["first", "second"]
    assert BehaviourTable((), file).rows()[1] == {
        "defect": "second",
        "cluster": "iptables",
        "found by": ["C16"],
        "noticed by": ["C10"],
        "could not tell": ["C58"],
    }


def test_without_a_file_there_are_no_rows(tmp_path: Path) -> None:
    assert BehaviourTable((), tmp_path / "behaviour.json").rows() == []
