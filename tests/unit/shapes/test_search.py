"""The search for rows that cost less, in a space that is small enough to know the best ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.shapes.covering import Space, covering_array
from session_affinity.shapes.search import CheaperRows

if TYPE_CHECKING:
    from collections.abc import Mapping

SPACE = Space({"a": ("1", "2", "3"), "b": ("1", "2", "3"), "c": ("1", "2", "3"), "d": ("1", "2", "3")})


def cost(row: Mapping[str, str]) -> float:
    return 1 + 0.1 * int(row["a"])


def covered(rows: list[dict[str, str]]) -> frozenset[object]:
    return frozenset(combination for row in rows for combination in SPACE.combinations_of(row))


def test_rows_get_cheaper_and_cover_the_same() -> None:
    rows = [*covering_array(SPACE, seed=1), *covering_array(SPACE, seed=2)]
    search = CheaperRows(SPACE, rows, cost, seed=1)

    list(search.search(300))

    assert covered(search.rows) == SPACE.feasible
    # Nine rows are the fewest: three values of two dimensions have nine pairs.
    assert len(search.rows) == 9
    assert search.total == pytest.approx(3 * (1.1 + 1.2 + 1.3))


def test_rows_of_which_none_is_needed_are_left_out_at_once() -> None:
    rows = list(covering_array(SPACE, seed=1))

    assert len(CheaperRows(SPACE, [*rows, *rows], cost, seed=1).rows) <= len(rows)


def test_no_round_makes_rows_more_expensive() -> None:
    search = CheaperRows(SPACE, list(covering_array(SPACE, seed=1)), cost, seed=3)

    totals = [search.total for _ in search.search(20)]

    assert totals == sorted(totals, reverse=True)


def test_what_is_found_follows_from_the_seed() -> None:
    first, second = (CheaperRows(SPACE, list(covering_array(SPACE, seed=1)), cost, seed=4) for _ in range(2))

    list(first.search(20))
    list(second.search(20))

    assert first.rows == second.rows
