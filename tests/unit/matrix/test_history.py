"""A run has one line in the history, however often it is reported, and none when its report failed."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from ci.matrix.history import without_run
from ci.matrix.results import ResultsError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def line(*ids: str) -> str:
    return json.dumps({"testResults": {f"history of {test}": {"id": test} for test in ids}})


def appended(history: Path, *ids: str) -> list[str]:
    with without_run(history, frozenset(ids)) as copy:
        copy.write_text(f"{copy.read_text()}{line(*ids)}\n")
    return history.read_text().splitlines()


def test_runs_follow_one_another(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"

    assert appended(history, "a", "b") == [line("a", "b")]
    assert appended(history, "c") == [line("a", "b"), line("c")]


def test_another_report_of_the_same_run_replaces_its_line(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    appended(history, "a")

    assert appended(history, "b", "c") == appended(history, "b", "c") == [line("a"), line("b", "c")]


def test_a_report_that_fails_leaves_the_history_as_it_was(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    appended(history, "a")

    with contextlib.suppress(RuntimeError), without_run(history, frozenset("b")) as copy:
        copy.write_text("half a li")
        raise RuntimeError

    assert history.read_text().splitlines() == [line("a")]
    assert list(tmp_path.iterdir()) == [history]


def test_the_error_for_another_file_has_the_line_number(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(f"{line('a')}\n[]\n")

    with pytest.raises(ResultsError, match=r"history\.jsonl, line 2"), without_run(history, frozenset()):
        pass
    assert list(tmp_path.iterdir()) == [history]
