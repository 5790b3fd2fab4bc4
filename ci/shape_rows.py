"""Write the rows of the arrays of shapes, session_affinity/shapes/*.csv, after a change of their dimensions.

``python -m ci.shape_rows [NAME ...]`` takes ten minutes for all arrays: for those of the catalogue it searches
long for Services that take less time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from session_affinity.progress import Progress
from session_affinity.shapes import arrays
from session_affinity.shapes.covering import coverage, covering_array
from session_affinity.shapes.dimensions import SPACES
from session_affinity.shapes.objects import Site, SiteNode, objects
from session_affinity.shapes.search import CheaperRows

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS: Final = {arrays.COMPACT: 1000, arrays.ANSWERED: 300}
"""Rounds of the search for cheaper rows."""
SITE: Final = Site(tuple(SiteNode(f"node{number}", f"zone{number % 2}", (f"192.0.2.{number}",)) for number in range(4)))
SERVICE_COST: Final = 1.0
"""What a Service costs beside its object: an address is allocated, and its chains are made."""
ENDPOINT_COST: Final = 0.15
"""What the rules of an endpoint cost, where an object that is created costs 1."""


def cost(row: Mapping[str, str]) -> float:
    """Return what a row costs in a run with one IP family, by the objects to create and the rules to write."""
    return SERVICE_COST + len(objects(row, 0, SITE, "run").all) + ENDPOINT_COST * arrays.endpoint_count(row)


def main(names: list[str]) -> int:
    """Write the arrays of these names, all when none is given."""
    progress = Progress()
    for name in names or SPACES:
        space = SPACES[name]
        with progress.step(f"making the {name} array") as step:
            rows = []
            for row in covering_array(space, arrays.SEED, arrays.endpoint_count):
                rows.append(row)
                step.update(f"{len(rows)} rows")
            cheaper, rounds = CheaperRows(space, rows, cost, arrays.SEED), ROUNDS.get(name, 0)
            for number in cheaper.search(rounds):
                step.update(f"round {number + 1} of {rounds}, {len(cheaper.rows)} rows, cost {cheaper.total:.0f}")
            rows = [{dimension: row[dimension] for dimension in space.values} for row in cheaper.rows]
            covered = coverage(space, rows)
        endpoints = sum(map(arrays.endpoint_count, rows))
        comment = f"Made by `{arrays.COMMAND}`, seed {arrays.SEED}. {len(rows)} Services cover {covered}."
        arrays.write(arrays.path_of(name), rows, comment)
        progress.note(f"{name}: {len(rows)} Services with {endpoints} endpoints of ports cover {covered}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
