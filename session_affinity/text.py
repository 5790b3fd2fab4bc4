"""Numbers, names and lines as messages and tables show them, shortened where they are long, and compared."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first ``most`` names separated by commas, and the number of those left out."""
    return ", ".join(names[:most]) + (f" {_left_out(names, most)}" if len(names) > most else "")


def first_lines(lines: Sequence[str], most: int = 5) -> list[str]:
    """Return the first ``most`` lines, and a last one with the number of those left out."""
    return [*lines[:most], *([f"{_left_out(lines, most)} like these"] if len(lines) > most else [])]


def first_text(texts: Sequence[str]) -> str:
    """Return the first text, and the number of the others in parentheses."""
    return texts[0] + (f" ({_left_out(texts, 1)})" if len(texts) > 1 else "")


def lines_or(items: Iterable[object], default: str) -> str:
    """Return one line for each item, or the default where there is none."""
    return "\n".join(map(str, items)) or default


def changed_lines(before: Sequence[str], after: Sequence[str]) -> str:
    """Return the lines that differ, those of ``before`` marked with - and those of ``after`` with +."""
    lines = list(unified_diff(before, after, lineterm="", n=0))[2:]
    changed = [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]
    return "\n".join(changed) or "the same lines in another order"


def moment(seconds: float | None) -> str:
    """Return a moment in seconds with two decimals; empty when it is unknown."""
    return "" if seconds is None else f"{seconds:.2f}"


def _left_out(items: Sequence[str], most: int) -> str:
    return f"and {len(items) - most} more"
