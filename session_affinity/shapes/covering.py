"""Covering arrays: rows of values in which every feasible pair of values of two dimensions occurs, and shows.

A pair is feasible when some row with it fulfils all constraints and masks neither value, which backtracking decides.
Rows are grown from an uncovered pair, value by value, each time the one that covers most (as AETG does: Cohen et al.,
The AETG System, 1997).
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Row = dict[str, str]
"""A value for each dimension, or for some of them."""
Combination = tuple[tuple[str, str], ...]
"""Dimensions with a value each, in the order of the dimensions."""

CANDIDATES: Final = 8
"""How many rows are grown for each row of the array; the one that covers most is taken."""


@dataclass(frozen=True)
class Constraint:
    """What the values of some dimensions must fulfil together; ``reason`` says it in words."""

    reason: str
    dimensions: tuple[str, ...]
    is_fulfilled: Callable[..., bool]

    def allows(self, row: Mapping[str, str]) -> bool:
        """Whether a row fulfils it; one that lacks some of the dimensions does so far."""
        values = [row[name] for name in self.dimensions if name in row]
        return len(values) < len(self.dimensions) or self.is_fulfilled(*values)


@dataclass(frozen=True)
class Mask:
    """What keeps a value from showing in the rules; ``reason`` says it in words.

    The values of the dimensions ``masked`` make no difference in a row whose values of the dimensions ``by`` are
    masking. In a combination of values that has all of ``by`` itself they still count: that is what it is about.
    """

    reason: str
    masked: frozenset[str]
    by: tuple[str, ...]
    is_masking: Callable[..., bool]

    def masks(self, row: Mapping[str, str]) -> bool:
        """Whether the masked values make no difference in a row; not so far where it lacks some of ``by``."""
        values = [row[name] for name in self.by if name in row]
        return len(values) == len(self.by) and self.is_masking(*values)

    def concerns(self, names: Iterable[str]) -> bool:
        """Whether a row with this mask would not cover a combination of these dimensions."""
        given = frozenset(names)
        return not self.masked.isdisjoint(given - frozenset(self.by)) and not given.issuperset(self.by)

    def hides(self, names: Iterable[str]) -> bool:
        """Whether a combination of these dimensions has the masking values and is hidden by them but for those."""
        given, by = frozenset(names), frozenset(self.by)
        return by < given and given - by <= self.masked


@dataclass(frozen=True)
class Space:
    """All rows: the values of each dimension, the default first, and the constraints between dimensions.

    ``triples`` are the dimensions among which every feasible triple of values is to be covered too. A row covers a
    combination when no mask hides one of its values.
    """

    values: Mapping[str, tuple[str, ...]]
    constraints: tuple[Constraint, ...] = ()
    triples: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()

    def is_allowed(self, row: Mapping[str, str]) -> bool:
        """Whether a row, perhaps of some dimensions only, fulfils the constraints between those that it has."""
        return not any(self.violated(row))

    def violated(self, row: Mapping[str, str]) -> Iterator[Constraint]:
        """Return the constraints that a row does not fulfil."""
        return (constraint for constraint in self.constraints if not constraint.allows(row))

    def completed(self, row: Mapping[str, str], shown: Iterable[str] = ()) -> Row | None:
        """Return an allowed row of all dimensions that has these values, with as many defaults as it may; or None.

        The values of the dimensions ``shown`` make a combination that the row is to cover.
        """
        masks = self._masks_to_avoid(row, tuple(shown))
        if not self.is_allowed(row) or any(mask.masks(row) for mask in masks):
            return None
        return self._completed(dict(row), self._nearest_first(row), masks)

    def _masks_to_avoid(self, row: Mapping[str, str], names: tuple[str, ...]) -> tuple[Mask, ...]:
        """Return the masks that a row must not have to cover its values of these dimensions.

        None where one of these values hides the others: that nothing else shows is what the combination is about.
        """
        hiding, concerning = self._masks_of(names)
        return () if any(mask.masks(row) for mask in hiding) else concerning

    def _masks_of(self, names: tuple[str, ...]) -> tuple[tuple[Mask, ...], tuple[Mask, ...]]:
        """Return the masks that a combination of dimensions may be about, and those that may keep it from showing."""
        if names not in self._known_masks:
            hiding = tuple(mask for mask in self.masks if mask.hides(names))
            self._known_masks[names] = hiding, tuple(mask for mask in self.masks if mask.concerns(names))
        return self._known_masks[names]

    @cached_property
    def _known_masks(self) -> dict[tuple[str, ...], tuple[tuple[Mask, ...], tuple[Mask, ...]]]:
        return {}

    def _nearest_first(self, row: Mapping[str, str]) -> list[str]:
        """Return the dimensions that a row lacks, first those that constraints tie to its own: they decide soonest."""
        order, seen = list(row), set(row)
        for name in order:
            for constraint in self._by_dimension.get(name, ()):
                new = [other for other in constraint.dimensions if other not in seen]
                order += new
                seen.update(new)
        return [name for name in dict.fromkeys((*order, *self.values)) if name not in row]

    def _completed(self, row: Row, left: Sequence[str], masks: Sequence[Mask]) -> Row | None:
        if not left:
            return row
        name, *others = left
        for value in self.values[name]:
            row[name] = value
            is_allowed = all(constraint.allows(row) for constraint in self._by_dimension.get(name, ()))
            is_allowed = is_allowed and not any(mask.masks(row) for mask in masks)
            if is_allowed and (found := self._completed(row, others, masks)):
                return found
        del row[name]
        return None

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each dimension among all."""
        return {name: place for place, name in enumerate(self.values)}

    @cached_property
    def _by_dimension(self) -> Mapping[str, list[Constraint]]:
        by_dimension: dict[str, list[Constraint]] = defaultdict(list)
        for constraint in self.constraints:
            for name in constraint.dimensions:
                by_dimension[name].append(constraint)
        return by_dimension

    @cached_property
    def feasible(self) -> frozenset[Combination]:
        """The feasible pairs of all dimensions, and the feasible triples of ``triples``."""
        return self.feasible_beside(())

    def feasible_beside(self, rows: Iterable[Mapping[str, str]]) -> frozenset[Combination]:
        """Return the feasible pairs and triples; what allowed rows have need not be searched for."""
        known: set[Combination] = set()
        for row in rows:
            if self.is_allowed(row):
                known.update(self.combinations_of(row))
        for wanted in self._wanted():
            names = [name for name, _ in wanted]
            if wanted not in known and (completed := self.completed(dict(wanted), names)) is not None:
                known.update(self.combinations_of(completed))
        return frozenset(known)

    def _wanted(self) -> Iterator[Combination]:
        for names in self.groups():
            for values in product(*(self.values[name] for name in names)):
                yield tuple(zip(names, values, strict=True))

    def groups(self) -> Iterator[tuple[str, ...]]:
        """Yield the pairs and triples of dimensions whose combinations of values are covered."""
        yield from combinations(self.values, 2)
        yield from combinations([name for name in self.values if name in self.triples], 3)

    def combinations_of(self, row: Mapping[str, str]) -> Iterator[Combination]:
        """Yield the pairs and triples that a row covers."""
        masking = {mask for mask in self.masks if mask.masks(row)}
        for names in self.groups():
            hiding, concerning = self._masks_of(names)
            if masking.intersection(hiding) or masking.isdisjoint(concerning):
                yield tuple((name, row[name]) for name in names)


@dataclass(frozen=True)
class Coverage:
    """How many of the feasible pairs, and triples, an array covers."""

    pairs: int
    feasible_pairs: int
    triples: int
    feasible_triples: int

    def __str__(self) -> str:
        triples = f", {self.triples} of {self.feasible_triples} triples" if self.feasible_triples else ""
        return f"{self.pairs} of {self.feasible_pairs} feasible pairs{triples}"


def coverage(space: Space, rows: Iterable[Mapping[str, str]]) -> Coverage:
    """Count what an array covers."""
    given = list(rows)
    covered = {combination for row in given for combination in space.combinations_of(row)}
    feasible = space.feasible_beside(given)
    pairs, triples = (
        [sum(len(combination) == size for combination in some) for some in (covered, feasible)] for size in (2, 3)
    )
    return Coverage(*pairs, *triples)


def covering_array(
    space: Space, seed: int, cost: Callable[[Mapping[str, str]], float] = lambda _: 0.0
) -> Iterator[Row]:
    """Yield rows until all feasible pairs and triples are covered; the same ones for the same seed.

    Of rows that cover equally many, the one with the lowest ``cost`` is taken.
    """
    chance = random.Random(seed)  # noqa: S311 - the same rows for the same seed; nothing secret
    uncovered = set(space.feasible)
    while uncovered:
        best = max(
            candidates(space, uncovered, chance, CANDIDATES), key=lambda row: (gain(space, row, uncovered), -cost(row))
        )
        uncovered.difference_update(space.combinations_of(best))
        yield best


def gain(space: Space, row: Mapping[str, str], uncovered: set[Combination]) -> int:
    """Return how many uncovered combinations a row covers."""
    return sum(combination in uncovered for combination in space.combinations_of(row))


def candidates(space: Space, uncovered: set[Combination], chance: random.Random, count: int) -> list[Row]:
    """Return so many rows that are grown from the same uncovered combination."""
    # Triples are the hardest to come by; a row that begins with a pair gets few of them.
    start = max(chance.sample(sorted(uncovered), min(count, len(uncovered))), key=len)
    return [_grown(space, start, uncovered, chance) for _ in range(count)]


def _grown(space: Space, start: Combination, uncovered: set[Combination], chance: random.Random) -> Row:
    """Return a row with the values of ``start``; each further dimension gets the feasible value that covers most."""
    row: Row = dict(start)
    shown = tuple(row)
    names = [name for name in space.values if name not in row]
    chance.shuffle(names)
    for name in names:
        gains = {value: _gain_of(space, row, name, value, uncovered) for value in space.values[name]}
        # Values that cover equally many are tried in random order, so that rows differ.
        ranked = sorted(gains, key=lambda value: (-gains[value], chance.random()))
        row[name] = next(value for value in ranked if space.completed({**row, name: value}, shown) is not None)
    return row


def _gain_of(space: Space, row: Mapping[str, str], name: str, value: str, uncovered: set[Combination]) -> int:
    """Return how many uncovered combinations a value adds to a row."""
    place, order = space.order[name], space.order
    item = (name, value)
    gained = sum(((other, item) if order[other[0]] < place else (item, other)) in uncovered for other in row.items())
    if name in space.triples:
        among = [other for other in row.items() if other[0] in space.triples]
        gained += sum(
            tuple(sorted((item, *pair), key=lambda each: order[each[0]])) in uncovered
            for pair in combinations(among, 2)
        )
    return gained
