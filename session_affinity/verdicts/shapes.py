"""Whether nodes have the computed rules for Services of every shape, and the smallest shape that they lack them for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from session_affinity.errors import NothingObservedError
from session_affinity.shapes import reduction
from session_affinity.shapes.text import as_yaml
from session_affinity.text import listed
from session_affinity.verdicts.rules import finding
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.scenarios.comparison import Comparison
    from session_affinity.scenarios.shapes import DifferingShape, ShapesSeen

MOST_PER_NODE: Final = 4
"""How many differences of a node are findings; the others are counted."""


def judge_shapes(seen: ShapesSeen, family: Family) -> Verdict:
    """Judge that every node has the computed rules for all Services of an array, and nothing else, in one IP family.

    Raises NothingObservedError when no node was compared, or no Service was, or nothing differs and some were not made.
    """
    comparison, removed = seen.compared[family], seen.removed[family]
    require_observed(seen.rows, "Services of every shape")
    require_observed(comparison.services, f"Services of every shape in {family}")
    require_observed(comparison.differences, "nodes with the rules of Services of every shape")
    compared = {service.name for service in comparison.services}
    if left_out := [name for name in seen.rows if name not in compared]:
        raise NothingObservedError(f"{len(left_out)} Services were made and not compared: {listed(left_out)}")
    require_observed(removed.differences, "nodes after Services of every shape were deleted")
    findings = tuple(each for node in comparison.differences for each in _findings(node, comparison, removed, seen))
    if seen.lacking and not findings:
        raise NothingObservedError(f"{len(seen.rows)} Services of the {seen.array} array were made: {seen.lacking}")
    if not findings:
        return Verdict(
            f"{_covered(seen)} as computed on {len(comparison.differences)} nodes; {_times(seen, comparison)}"
        )
    shapes = seen.differing.get(family, ())
    counts = ", ".join(
        f"{len(by_service)} of {len(comparison.services)} Services differ on {node}"
        for node, by_service in comparison.differences.items()
        if by_service
    )
    first = f"; {findings[0].what}"
    smallest = "".join(f"; {_in_words(shape)}" for shape in shapes[:1])
    return Verdict(f"{counts or 'leftovers'}{first}{smallest}", findings, context=tuple(_context(shapes, comparison)))


def _findings(node: str, comparison: Comparison, removed: Comparison, seen: ShapesSeen) -> Iterator[Finding]:
    """Yield the differences of the smallest Services that differ on a node, then its leftovers."""
    by_service = comparison.differences[node]
    rows = seen.rows
    # The sentinel has no row: it differs in rules that every Service needs.
    in_order = sorted(
        by_service, key=lambda service: reduction.size(rows[service.name]) if service.name in rows else ()
    )
    differences = [difference for service in in_order for difference in by_service[service]]
    yield from map(finding, differences[:MOST_PER_NODE])
    yield from map(finding, comparison.leftovers.get(node, ())[:MOST_PER_NODE])
    yield from map(finding, removed.leftovers.get(node, ())[:MOST_PER_NODE])


def _context(shapes: Sequence[DifferingShape], comparison: Comparison) -> Iterator[str]:
    for node, by_service in comparison.differences.items():
        aspects = Counter(str(difference.aspect) for found in by_service.values() for difference in found)
        if aspects:
            yield f"{node}: " + ", ".join(f"{count} in {aspect}" for aspect, count in aspects.most_common())
    for shape in shapes:
        yield f"{shape.node}: {_in_words(shape)}; it was found by a Service with {reduction.describe(shape.row)}"
        yield from (f"  {difference}" for difference in shape.differences[:MOST_PER_NODE])
        yield from as_yaml(shape.objects).splitlines()


def _in_words(shape: DifferingShape) -> str:
    words = reduction.describe(shape.smallest)
    if not shape.came_back:
        return f"the difference did not come back for a new Service with {words}"
    if not shape.is_smallest:
        return f"a small shape that differs, of {shape.tried} tried: {words}"
    return f"the smallest shape that differs, of {shape.tried} tried: {words}"


def _covered(seen: ShapesSeen) -> str:
    refused = f", {len(seen.refused)} refused by the cluster" if seen.refused else ""
    return f"{len(seen.rows)} Services of the {seen.array} array, {seen.coverage}{refused},"


def _times(seen: ShapesSeen, comparison: Comparison) -> str:
    programmed = max(comparison.programmed.values(), default=0.0)
    batches = f" in {seen.batches} batches" if seen.batches > 1 else ""
    return (
        f"{seen.object_count} objects made{batches} in {seen.made_in:.1f} s, programmed {programmed:.1f} s later, "
        f"read and compared in {comparison.judge_seconds:.1f} s"
    )
