"""Write the rows of the arrays of shapes, session_affinity/shapes/*.csv, after a change of their dimensions.

``python -m ci.shape_rows [NAME ...]`` takes some minutes for all arrays.
"""

from __future__ import annotations

import sys

from session_affinity.progress import Progress
from session_affinity.shapes import arrays
from session_affinity.shapes.covering import coverage, covering_array
from session_affinity.shapes.dimensions import SPACES


def main(names: list[str]) -> int:
    """Write the arrays of these names, all when none is given."""
    progress = Progress()
    for name in names or SPACES:
        space = SPACES[name]
        with progress.step(f"making the {name} array") as step:
            rows = []
            for row in covering_array(space, arrays.SEED, arrays.endpoint_count):
                rows.append({dimension: row[dimension] for dimension in space.values})
                step.update(f"{len(rows)} rows")
            covered = coverage(space, rows)
        endpoints = sum(map(arrays.endpoint_count, rows))
        comment = f"Made by `{arrays.COMMAND}`, seed {arrays.SEED}. {len(rows)} Services cover {covered}."
        arrays.write(arrays.path_of(name), rows, comment)
        progress.note(f"{name}: {len(rows)} Services with {endpoints} endpoints of ports cover {covered}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
