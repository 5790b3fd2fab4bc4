"""Search for rows that cover the same and cost less: drop some rows of an array, and grow others for what they covered.

This is a large neighbourhood search (Shaw, Using Constraint Programming and Local Search Methods to Solve Vehicle
Routing Problems, 1998). Rows that cover little for their cost are dropped more often. What is found is kept if it costs
no more.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from session_affinity.shapes.covering import candidates, gain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from session_affinity.shapes.covering import Combination, Row, Space

    Cost = Callable[[Mapping[str, str]], float]

DROPPED: Final = (2, 3, 4, 6, 8, 12)
"""How many rows are dropped in a round; one of these numbers."""
CANDIDATES: Final = 6
"""How many rows are grown for each new row."""
WEAKEST: Final = 0.7
"""In which part of the rounds the dropped rows are those that cover little for their cost; any rows in the others."""
EXCESS: Final = 8.0
"""By how much new rows may cost more than the dropped ones before redundant rows are left out."""


class CheaperRows:
    """Rows of a space that cover what the given ones cover; they get cheaper from round to round.

    The same rows follow from the same seed.
    """

    def __init__(self, space: Space, rows: Sequence[Row], cost: Cost, seed: int) -> None:
        self._space = space
        self._cost = cost
        self._chance = random.Random(seed)  # noqa: S311 - the same rows for the same seed; nothing secret
        self._covered: dict[tuple[str, ...], frozenset[Combination]] = {}
        self._all = frozenset(combination for row in rows for combination in self._combinations(row))
        self.rows = self._needed(rows)

    @property
    def total(self) -> float:
        """What the rows cost."""
        return sum(map(self._cost, self.rows))

    def search(self, rounds: int) -> Iterator[int]:
        """Yield the number of each round after it."""
        for number in range(rounds):
            if (found := self._regrown(self._dropped())) and sum(map(self._cost, found)) <= self.total:
                self.rows = found
            yield number

    def _dropped(self) -> set[int]:
        """Return the numbers of the rows that are dropped in this round."""
        count, numbers = min(self._chance.choice(DROPPED), len(self.rows)), range(len(self.rows))
        if self._chance.random() >= WEAKEST:
            return set(self._chance.sample(numbers, count))
        occurrences = Counter(combination for row in self.rows for combination in self._combinations(row))

        def value(number: int) -> float:
            row = self.rows[number]
            only_here = sum(occurrences[combination] == 1 for combination in self._combinations(row))
            return only_here / self._cost(row) * (0.4 + self._chance.random())

        return set(sorted(numbers, key=value)[:count])

    def _regrown(self, dropped: set[int]) -> list[Row] | None:
        """Return rows with others instead of the dropped ones; None where they become too expensive."""
        rows = [row for number, row in enumerate(self.rows) if number not in dropped]
        budget = EXCESS + sum(self._cost(self.rows[number]) for number in dropped)
        uncovered = set(self._all.difference(*map(self._combinations, rows)))
        while uncovered:
            grown = candidates(self._space, uncovered, self._chance, CANDIDATES)
            best = max(grown, key=lambda row: gain(self._space, row, uncovered) / self._cost(row))
            uncovered -= self._combinations(best)
            rows.append(best)
            budget -= self._cost(best)
            if budget < 0:
                return None
        return self._needed(rows)

    def _needed(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows without those whose combinations all occur in others; the expensive ones are tried first."""
        occurrences = Counter(combination for row in rows for combination in self._combinations(row))
        needed = []
        for row in sorted(rows, key=self._cost, reverse=True):
            combinations = self._combinations(row)
            if all(occurrences[combination] > 1 for combination in combinations):
                occurrences.subtract(combinations)
            else:
                needed.append(row)
        return needed

    def _combinations(self, row: Row) -> frozenset[Combination]:
        """Return what a row covers."""
        values = tuple(row[name] for name in self._space.values)
        if values not in self._covered:
            self._covered[values] = frozenset(self._space.combinations_of(row))
        return self._covered[values]
