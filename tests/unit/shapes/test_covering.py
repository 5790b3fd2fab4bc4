"""Covering arrays of small spaces, whose feasible pairs can be counted by hand."""

from __future__ import annotations

from itertools import product

from session_affinity.shapes.covering import Constraint, Mask, Space, coverage, covering_array

COLOURS = ("red", "green", "blue")
SPACE = Space(
    {"a": COLOURS, "b": COLOURS, "c": ("0", "1"), "d": ("0", "1", "2")},
    (
        Constraint("no red with 1", ("a", "c"), lambda a, c: not (a == "red" and c == "1")),
        Constraint("blue b only with c 1", ("b", "c"), lambda b, c: b != "blue" or c == "1"),
    ),
    ("a", "b", "d"),
)


def every_row() -> list[dict[str, str]]:
    rows = [dict(zip(SPACE.values, values, strict=True)) for values in product(*SPACE.values.values())]
    return [row for row in rows if SPACE.is_allowed(row)]


def test_feasible_pairs_and_triples_are_those_of_all_allowed_rows() -> None:
    by_force = {combination for row in every_row() for combination in SPACE.combinations_of(row)}

    assert SPACE.feasible == by_force
    # Red a with blue b needs c 0 and c 1: no constraint says so of the two alone.
    assert (("a", "red"), ("b", "blue")) not in by_force


def test_a_pair_that_no_row_can_have_is_not_completed() -> None:
    assert SPACE.completed({"a": "red", "b": "blue"}) is None
    assert SPACE.completed({"a": "red", "c": "1"}) is None


def test_a_completed_row_has_as_many_defaults_as_it_may() -> None:
    assert SPACE.completed({"b": "blue"}) == {"a": "green", "b": "blue", "c": "1", "d": "0"}


def test_an_array_covers_everything_by_allowed_rows() -> None:
    rows = list(covering_array(SPACE, seed=7))

    assert all(SPACE.is_allowed(row) for row in rows)
    covered = coverage(SPACE, rows)
    assert covered.pairs == covered.feasible_pairs == sum(len(each) == 2 for each in SPACE.feasible)
    assert covered.triples == covered.feasible_triples == sum(len(each) == 3 for each in SPACE.feasible)
    assert len(rows) < len(every_row())


def test_an_array_follows_from_its_seed() -> None:
    assert list(covering_array(SPACE, seed=7)) == list(covering_array(SPACE, seed=7))
    assert list(covering_array(SPACE, seed=7)) != list(covering_array(SPACE, seed=8))


def test_what_rows_leave_out_is_counted() -> None:
    covered = coverage(SPACE, every_row()[:1])

    assert (covered.pairs, covered.triples) == (6, 1)
    assert str(covered).startswith(f"6 of {covered.feasible_pairs} feasible pairs, 1 of ")


MASKED = Space(
    SPACE.values,
    masks=(
        Mask("red a hides all", frozenset("bcd"), ("a",), lambda a: a == "red"),
        Mask("green b hides d", frozenset("d"), ("b",), lambda b: b == "green"),
        Mask("d 2 with c 1 hides b", frozenset("b"), ("c", "d"), lambda c, d: (c, d) == ("1", "2")),
    ),
)


def test_a_row_covers_what_nothing_in_it_hides() -> None:
    row = {"a": "blue", "b": "green", "c": "1", "d": "2"}

    covered = set(MASKED.combinations_of(row))

    # d shows in none but with b, which hides it, and b in none but with d and c, which hide it together.
    assert covered == {(("a", "blue"), ("c", "1")), (("b", "green"), ("d", "2"))}


def test_a_row_with_a_value_that_hides_all_covers_that_all_is_hidden() -> None:
    covered = set(MASKED.combinations_of({"a": "red", "b": "green", "c": "1", "d": "2"}))

    assert covered == {(("a", "red"), (name, value)) for name, value in (("b", "green"), ("c", "1"), ("d", "2"))} | {
        (("b", "green"), ("d", "2"))
    }


def test_an_array_covers_every_pair_in_a_row_that_shows_it() -> None:
    rows = list(covering_array(MASKED, seed=1))

    assert coverage(MASKED, rows).pairs == coverage(MASKED, rows).feasible_pairs
    assert any(row["a"] != "red" and row["b"] != "green" and row["d"] == "1" for row in rows)


def test_the_cheapest_of_rows_that_cover_as_much_is_taken() -> None:
    space = Space({"a": ("0", "1"), "b": ("0", "1"), "size": tuple(map(str, range(9)))})

    rows = list(covering_array(space, seed=1, cost=lambda row: int(row["size"])))

    assert coverage(space, rows).pairs == coverage(space, rows).feasible_pairs
