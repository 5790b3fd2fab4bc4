"""Make Services of all shapes of an array, compare all nodes, and find the smallest shape that differs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.labels import unique_name
from session_affinity.scenarios.comparison import Comparison, compare
from session_affinity.shapes import reduction
from session_affinity.shapes.objects import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from session_affinity.cluster_objects.handmade import HandMadeServices
    from session_affinity.dataplane.differences import Aspect, Difference
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.shapes.arrays import ShapeArray
    from session_affinity.shapes.covering import Coverage, Row
    from session_affinity.shapes.objects import ShapeObjects, Site
    from session_affinity.testbed.testbed import Testbed

MOST_ROUNDS: Final = 16
"""How often smaller shapes are made and compared at most, for one difference."""


@dataclass(frozen=True)
class DifferingShape:
    """A Service that differs on a node, and the smallest shape that differs like it.

    ``row`` is the row of the array, ``smallest`` the smallest row that was found, with its ``objects`` and
    ``differences``. ``tried`` is how many smaller Services were made. ``is_smallest`` says that none of those which are
    smaller in one dimension differs; ``came_back`` that the Service differed again when it was made anew.
    """

    node: str
    row: Row
    smallest: Row
    objects: ShapeObjects
    differences: tuple[Difference, ...]
    tried: int
    is_smallest: bool
    came_back: bool = True


@dataclass(frozen=True)
class ShapesSeen:
    """The Services of an array, as compared in each IP family.

    ``rows`` are the rows by the name of the Service. ``refused`` are the reasons for rows that the cluster accepts no
    Service of, by number; ``coverage`` is what the others cover. ``compared`` are the comparisons by family,
    ``removed`` those after all were deleted. ``differing`` are the shapes that differ, by family, each the smallest of
    its kind. ``made_in`` is the seconds that it took to create all objects; ``object_count`` is how many.
    """

    array: str
    rows: Mapping[str, Row]
    refused: Mapping[int, str]
    coverage: Coverage
    compared: Mapping[Family, Comparison]
    removed: Mapping[Family, Comparison]
    differing: Mapping[Family, tuple[DifferingShape, ...]] = field(default_factory=dict)
    made_in: float = 0.0
    object_count: int = 0


@dataclass(frozen=True)
class ShapeMaker:
    """What shapes are made with: the hand-made Services of a run, and where they are."""

    services: HandMadeServices
    site: Site
    release: tuple[int, int]

    def make(self, rows: Sequence[Row]) -> tuple[dict[str, int], dict[int, str], list[ShapeObjects]]:
        """Create Services of rows; return the numbers of the rows by name, refusals by number, and all objects."""
        run = unique_name("").rpartition("-")[2]
        shapes = [objects(row, number, self.site, run) for number, row in enumerate(rows)]
        refused = self.services.create_accepted([shape.all for shape in shapes])
        return {shape.name: number for number, shape in enumerate(shapes)}, refused, shapes

    def compare(self, testbed: Testbed, since: float, former: Iterable[ServiceState] = ()) -> Comparison:
        """Compare all that was made on all nodes."""
        return compare(testbed, self.services, since=since, release=self.release, former=former)


def observe(
    testbeds: Mapping[Family, Testbed],
    maker: ShapeMaker,
    array: ShapeArray,
    on_progress: Callable[[str], None] = lambda _: None,
) -> ShapesSeen:
    """Make the Services of an array, compare the nodes in each family, and find the smallest shape that differs.

    Raises ApiError, and NotReadyError when a node does not program anything in time.
    """
    on_progress(f"create {len(array.rows)} Services")
    began = time.monotonic()
    numbers, refused, shapes = maker.make(array.rows)
    since = time.monotonic()
    compared: dict[Family, Comparison] = {}
    for family, testbed in testbeds.items():
        on_progress(f"compare {len(numbers)} Services in {family}")
        compared[family] = maker.compare(testbed, since).require()
    on_progress(f"delete {len(numbers)} Services")
    maker.services.delete_all()
    deleted = time.monotonic()
    removed = {
        family: maker.compare(testbed, deleted, compared[family].owners).require()
        for family, testbed in testbeds.items()
    }
    seen = ShapesSeen(
        array.name,
        {name: array.rows[number] for name, number in numbers.items() if number not in refused},
        refused,
        array.coverage(without=tuple(refused)),
        compared,
        removed,
        made_in=since - began,
        object_count=sum(len(shape.all) for number, shape in enumerate(shapes) if number not in refused),
    )
    differing = {
        family: tuple(_differing(testbed, maker, seen.rows, compared[family], on_progress))
        for family, testbed in testbeds.items()
    }
    return replace(seen, differing=differing)


def _differing(
    testbed: Testbed,
    maker: ShapeMaker,
    rows: Mapping[str, Row],
    comparison: Comparison,
    on_progress: Callable[[str], None],
) -> Iterator[DifferingShape]:
    """Yield the smallest shape for the most frequent difference of each node that differs.

    Differences of the sentinel alone are in rules that every Service needs: no shape is smaller.
    """
    for node, of_node in comparison.differences.items():
        by_service = {service: found for service, found in of_node.items() if service.name in rows}
        if not by_service:
            continue
        aspects = Counter(aspect for found in by_service.values() for aspect in {each.aspect for each in found})
        (aspect, _), *_ = aspects.most_common(1)
        having = [service for service, found in by_service.items() if any(each.aspect is aspect for each in found)]
        start = min(having, key=lambda service: reduction.size(rows[service.name]))
        yield _Reduction(testbed, maker, node, aspect, on_progress).smallest(rows[start.name])


class _Reduction:
    """Finds the smallest shape that differs on a node in an aspect, by making smaller ones and comparing them."""

    def __init__(
        self, testbed: Testbed, maker: ShapeMaker, node: str, aspect: Aspect, on_progress: Callable[[str], None]
    ) -> None:
        self._testbed = testbed
        self._maker = maker
        self._node = node
        self._aspect = aspect
        self._on_progress = on_progress
        self._tried = 0

    def smallest(self, row: Row) -> DifferingShape:
        """Make a row again, and smaller ones until none that is smaller in one dimension differs."""
        first = self._differing([row])
        if not first:
            shape = objects(row, 0, self._maker.site, "again")
            return DifferingShape(self._node, row, row, shape, (), self._tried, is_smallest=False, came_back=False)
        current, is_smallest = first[0], False
        for _ in range(MOST_ROUNDS):
            smaller = self._differing(reduction.smaller(current[0]))
            if not smaller:
                is_smallest = True
                break
            by_row = {tuple(candidate[0].items()): candidate for candidate in smaller}
            preferred = reduction.preferred(current[0], [candidate for candidate, *_ in smaller])
            bold = list(reduction.together(current[0], preferred))
            found = [by_row[tuple(row.items())] for row in preferred] + (self._differing(bold) if bold else [])
            current = min(found, key=lambda candidate: reduction.size(candidate[0]))
        smallest, shape, differences = current
        return DifferingShape(self._node, row, smallest, shape, differences, self._tried, is_smallest)

    def _differing(self, rows: Sequence[Row]) -> list[tuple[Row, ShapeObjects, tuple[Difference, ...]]]:
        """Make Services of rows, compare and delete them; return those that differ on the node in the aspect."""
        self._on_progress(f"look for the smallest shape that differs on {self._node}: {self._tried} tried")
        self._tried += len(rows)
        numbers, refused, shapes = self._maker.make(rows)
        try:
            comparison = self._maker.compare(self._testbed, time.monotonic()).require()
        finally:
            self._maker.services.delete_all()
        found = []
        for service, differences in comparison.differences.get(self._node, {}).items():
            number = numbers[service.name]
            of_aspect = tuple(each for each in differences if each.aspect is self._aspect)
            if of_aspect and number not in refused:
                found.append((rows[number], shapes[number], of_aspect))
        return found
