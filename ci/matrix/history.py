"""The history of reports, to which Allure appends a line per report: one line per run, however often it is reported."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ci.matrix.results import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def without_run(history: Path, results: frozenset[str]) -> Iterator[Path]:
    """Yield a copy of the history for Allure to append to, without the line of an earlier report of the same run.

    ``results`` are the report's ids of the run's results. The copy replaces the history when the block ends without an
    error, so that a failed report leaves no trace. Raises ResultsError, with the line number, for a file that is not a
    history.
    """
    copy = history.with_name(f"{history.name}.next")
    history.parent.mkdir(parents=True, exist_ok=True)
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    kept = [line for number, line in enumerate(lines, start=1) if not _is_of(history, number, line, results)]
    copy.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    try:
        yield copy
        shutil.move(copy, history)
    finally:
        copy.unlink(missing_ok=True)


def _is_of(history: Path, number: int, line: str, results: frozenset[str]) -> bool:
    try:
        return not results.isdisjoint(test["id"] for test in json.loads(line)["testResults"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{history}, line {number}, is not a line of Allure's history: {error!r}",
            next_step="remove that line, or the file",
        ) from error
