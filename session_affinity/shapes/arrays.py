"""The arrays of shapes: the rows in the repository, and others from a seed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.errors import UsageError
from session_affinity.shapes.covering import Coverage, coverage, covering_array
from session_affinity.shapes.dimensions import ENDPOINTS, PORTS, SPACES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.shapes.covering import Row, Space

COMPACT: Final = "compact"
FULL: Final = "full"
ANSWERED: Final = "answered"
"""Shapes over three pods that answer."""
SEED: Final = 1
"""The seed of the rows in the repository."""
COMMAND: Final = "python -m ci.shape_rows"
"""The command that writes these rows."""
_DIRECTORY: Final = Path(__file__).parent


@dataclass(frozen=True)
class ShapeArray:
    """An array of shapes; ``name`` says where the rows are from."""

    name: str
    space: Space
    rows: tuple[Row, ...]

    def coverage(self, without: Sequence[int] = ()) -> Coverage:
        """Count what the rows cover, without the rows of these numbers."""
        return coverage(self.space, [row for number, row in enumerate(self.rows) if number not in without])


def array(name: str) -> ShapeArray:
    """Return the array of an option's value: compact, full, or full with other rows, those of a seed.

    Making rows takes half a minute. Raises UsageError for anything else.
    """
    if name in SPACES:
        return ShapeArray(name, SPACES[name], tuple(read(path_of(name))))
    if not name.isdigit():
        raise UsageError(f"there is no array of shapes {name!r}", next_step="name compact, full, or a seed, a number")
    return ShapeArray(f"seed {name}", SPACES[FULL], tuple(made(SPACES[FULL], int(name))))


def made(space: Space, seed: int) -> list[Row]:
    """Make the rows of a seed; few endpoints are preferred, as they cost most."""
    return list(covering_array(space, seed, endpoint_count))


def endpoint_count(row: Mapping[str, str]) -> int:
    """Return how many endpoints kube-proxy has for a row: each port has its own."""
    return int(row[ENDPOINTS]) * int(row[PORTS])


def path_of(name: str) -> Path:
    """Return the file of an array."""
    return _DIRECTORY / f"{name}.csv"


def read(path: Path) -> list[Row]:
    """Read rows, a line each, under a line with the names of the dimensions."""
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def write(path: Path, rows: Sequence[Row], comment: str) -> None:
    """Write rows, with a comment on the first line."""
    with path.open("w", newline="") as file:
        file.write(f"# {comment}\n")
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
