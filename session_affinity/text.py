"""Lists of names and lines in messages, shortened where they are long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first ``most`` names separated by commas, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def first_lines(lines: Sequence[str], most: int = 5) -> list[str]:
    """Return the first ``most`` lines, and one more that says how many are left out."""
    return [*lines[:most], *([f"and {len(lines) - most} more like these"] if len(lines) > most else [])]
