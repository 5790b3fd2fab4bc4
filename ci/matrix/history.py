"""The history of reports: one line a run, written by Allure, kept from counting the same run twice."""

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
def lines_before(history: Path, results: frozenset[str]) -> Iterator[Path]:
    """Yield a copy of the history to generate a report with, without the line that these results made before.

    ``results`` are the report's ids of them. The copy takes the history's place when the block ends well, so that a
    report that could not be made leaves no trace. Raises ResultsError, naming the line, for a file that is no history.
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
        return not results.isdisjoint(one["id"] for one in json.loads(line)["testResults"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{history}, line {number}, is no history of Allure: {error!r}", next_step="remove that line, or the file"
        ) from error
