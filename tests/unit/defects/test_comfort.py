"""What is kept of defects where only behaviour was judged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.defects.comfort import Comfort
from tests.defects.defect import Defect
from tests.defects.judged import BROKEN, FAILED, PASSED, Judged, Outcome

if TYPE_CHECKING:
    from pathlib import Path


def defect(name: str) -> Defect:
    return Defect(name, lambda _: contextlib.nullcontext(), {"C16": ""})


def test_rows_are_kept_in_order_and_replaced(tmp_path: Path) -> None:
    one, other, gone = defect("one"), defect("other"), defect("gone")
    file = tmp_path / "behaviour.json"
    judged = Judged({"C10": Outcome(FAILED), "C12": Outcome(PASSED), "C58": Outcome(BROKEN)}, "")

    for name in (other, gone, one):
        Comfort((one, other, gone), file).record(name, Judged({}, ""))
    Comfort((one, other), file).record(other, judged)

    assert [row["defect"] for row in Comfort((), file).rows()] == ["one", "other"]
    assert Comfort((), file).rows()[1] == {
        "defect": "other",
        "cluster": "iptables",
        "found by": ["C16"],
        "noticed by": ["C10"],
        "could not tell": ["C58"],
    }
