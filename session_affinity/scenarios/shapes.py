"""Make Services of all shapes of an array, compare all nodes, and find the smallest shape that differs."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.capacity import NoRoomError, Selection, needs
from session_affinity.cluster_objects.labels import unique_name
from session_affinity.errors import SuiteError
from session_affinity.scenarios.comparison import Comparison, compare, merged
from session_affinity.shapes import reduction
from session_affinity.shapes.objects import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from session_affinity.cluster_objects.capacity import ServiceCapacity
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
    its kind. ``made_in`` is the seconds that it took to create all objects; ``object_count`` is how many. ``batches``
    is how many times Services were made, compared and deleted, ``limit`` why not all existed at the same time;
    ``lacking`` says why some were not made, for lack of room.
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
    batches: int = 1
    limit: str = ""
    lacking: str = ""


@dataclass(frozen=True)
class Batch:
    """Services that exist at the same time: their objects by number, and the reasons of those that were refused.

    ``since`` is the ``time.monotonic()`` when all were created, which took ``made_in`` seconds. ``limit`` says why
    there are no more.
    """

    shapes: Mapping[int, ShapeObjects]
    refused: Mapping[int, str]
    since: float
    made_in: float
    limit: str = ""

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers by the name of the Service."""
        return {shape.name: number for number, shape in self.shapes.items()}


@dataclass(frozen=True)
class ShapeMaker:
    """What shapes are made with: the hand-made Services of a run, and where they are.

    ``capacity`` says how many may exist at the same time; None on a cluster that is the suite's own.
    """

    services: HandMadeServices
    site: Site
    capacity: ServiceCapacity | None = None

    def objects(self, rows: Sequence[Row]) -> dict[int, ShapeObjects]:
        """Return the objects of rows by number, under names that are new."""
        run = unique_name("").rpartition("-")[2]
        return {number: objects(row, number, self.site, run) for number, row in enumerate(rows)}

    def batches(self, shapes: Mapping[int, ShapeObjects]) -> Iterator[Batch]:
        """Create Services with their slices, as many as may exist at the same time, and yield them.

        The caller deletes them before it asks for the next ones. Raises NoRoomError when there is no room for those
        that are left, ApiError when a request fails.
        """
        left = dict(shapes)
        while left:
            batch = self._next(left)
            for number in {*batch.shapes, *batch.refused}:
                del left[number]
            yield batch

    def _next(self, left: Mapping[int, ShapeObjects]) -> Batch:
        """Create as many of the Services that are left as may exist at the same time."""
        with self.capacity.turn if self.capacity else nullcontext():
            selection = self._select(left)
            began = time.monotonic()
            try:
                reasons = self.services.create_accepted([left[number].all for number in selection.numbers])
            except SuiteError:
                self.services.delete_all()
                raise
            since = time.monotonic()
        refused = {selection.numbers[place]: reason for place, reason in reasons.items()}
        return Batch(
            {number: left[number] for number in selection.numbers},
            {**refused, **selection.refused},
            since,
            since - began,
            selection.why,
        )

    def _select(self, shapes: Mapping[int, ShapeObjects]) -> Selection:
        if self.capacity is None:
            return Selection(tuple(shapes))
        return self.capacity.select({number: needs(shape.service) for number, shape in shapes.items()})

    def compare(self, testbed: Testbed, since: float, former: Iterable[ServiceState] = ()) -> Comparison:
        """Compare all that was made on all nodes."""
        return compare(testbed, self.services, since=since, former=former)


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
    shapes = maker.objects(array.rows)
    made, lacking = _Made(), ""
    try:
        for batch in maker.batches(shapes):
            made.note(batch)
            if not batch.shapes:
                continue
            for family, testbed in testbeds.items():
                on_progress(f"compare {len(batch.shapes)} Services in {family}")
                made.compared[family].append(maker.compare(testbed, batch.since).require())
            on_progress(f"delete {len(batch.shapes)} Services")
            maker.services.delete_all()
            deleted = time.monotonic()
            for family, testbed in testbeds.items():
                former = made.compared[family][-1].owners
                made.removed[family].append(maker.compare(testbed, deleted, former).require())
            if left := len(shapes) - len(made.numbers) - len(made.refused):
                on_progress(f"create Services in batch {made.batches + 1}, {left} are left")
    except NoRoomError as error:
        lacking = str(error)
    rows = {name: array.rows[number] for name, number in made.numbers.items()}
    left_out = shapes.keys() - set(made.numbers.values())
    seen = ShapesSeen(
        array.name,
        rows,
        made.refused,
        array.coverage(without=tuple(left_out)),
        {family: merged(made.compared[family]) for family in testbeds},
        {family: merged(made.removed[family]) for family in testbeds},
        made_in=made.seconds,
        object_count=sum(len(shapes[number].all) for number in made.numbers.values()),
        batches=made.batches,
        limit=made.limit,
        lacking=lacking,
    )
    differing = {
        family: tuple(_differing(testbed, maker, seen.rows, seen.compared[family], on_progress))
        for family, testbed in testbeds.items()
    }
    return replace(seen, differing=differing)


class _Made:
    """What was made and compared so far: the numbers of rows by the name of the Service, and the comparisons."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.refused: dict[int, str] = {}
        self.compared: defaultdict[Family, list[Comparison]] = defaultdict(list)
        self.removed: defaultdict[Family, list[Comparison]] = defaultdict(list)
        self.seconds = 0.0
        self.batches = 0
        self.limit = ""

    def note(self, batch: Batch) -> None:
        """Note a batch that was created."""
        self.numbers |= {name: number for name, number in batch.numbers.items() if number not in batch.refused}
        self.refused |= batch.refused
        self.seconds += batch.made_in
        self.batches += bool(batch.shapes)
        self.limit = self.limit or batch.limit


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
        """Make a row again, and smaller ones until none that is smaller in one dimension differs.

        Without room for them on the cluster the search ends with what it has.
        """
        try:
            first = self._differing([row])
        except NoRoomError:
            return self._unfound(row, came_back=True)
        if not first:
            return self._unfound(row, came_back=False)
        current, is_smallest = first[0], False
        with suppress(NoRoomError):
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

    def _unfound(self, row: Row, *, came_back: bool) -> DifferingShape:
        shape = objects(row, 0, self._maker.site, "again")
        return DifferingShape(self._node, row, row, shape, (), self._tried, is_smallest=False, came_back=came_back)

    def _differing(self, rows: Sequence[Row]) -> list[tuple[Row, ShapeObjects, tuple[Difference, ...]]]:
        """Make Services of rows, compare and delete them; return those that differ on the node in the aspect."""
        self._on_progress(f"look for the smallest shape that differs on {self._node}: {self._tried} tried")
        self._tried += len(rows)
        found = []
        for batch in self._maker.batches(self._maker.objects(rows)):
            try:
                comparison = self._maker.compare(self._testbed, batch.since).require()
            finally:
                self._maker.services.delete_all()
            for service, differences in comparison.differences.get(self._node, {}).items():
                number = batch.numbers[service.name]
                of_aspect = tuple(each for each in differences if each.aspect is self._aspect)
                if of_aspect and number not in batch.refused:
                    found.append((rows[number], batch.shapes[number], of_aspect))
        return found
