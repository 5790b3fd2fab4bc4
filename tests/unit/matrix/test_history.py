"""A run has one line in the history, however often its report is made, and none when it cannot be made."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from ci.matrix.history import lines_before
from ci.matrix.results import ResultsError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def line(*ids: str) -> str:
    return json.dumps({"testResults": {f"history of {one}": {"id": one} for one in ids}})


def appended(history: Path, *ids: str) -> list[str]:
    with lines_before(history, frozenset(ids)) as copy:
        copy.write_text(f"{copy.read_text()}{line(*ids)}\n")
    return history.read_text().splitlines()


def test_runs_follow_one_another(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"

    assert appended(history, "a", "b") == [line("a", "b")]
    assert appended(history, "c") == [line("a", "b"), line("c")]


def test_the_report_of_the_same_run_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    appended(history, "a")

    assert appended(history, "b", "c") == appended(history, "b", "c") == [line("a"), line("b", "c")]


def test_a_report_that_fails_leaves_the_history_as_it_was(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    appended(history, "a")

    with contextlib.suppress(RuntimeError), lines_before(history, frozenset("b")) as copy:
        copy.write_text("half a li")
        raise RuntimeError

    assert history.read_text().splitlines() == [line("a")]
    assert list(tmp_path.iterdir()) == [history]


def test_a_file_that_is_no_history_is_named_with_its_line(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(f"{line('a')}\n[]\n")

    with pytest.raises(ResultsError, match=r"history\.jsonl, line 2"), lines_before(history, frozenset()):
        pass
    assert list(tmp_path.iterdir()) == [history]
