"""The way to the smallest shape, with faults that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.shapes import arrays, reduction
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.dimensions import DEFAULTS, FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.shapes.covering import Row

    Fault = Callable[[Row], bool]


def smallest(row: Row, is_faulty: Fault) -> tuple[Row, int]:
    """Return the smallest row with a fault, and how many rounds it took."""
    for rounds in range(1, 17):
        smaller = [each for each in reduction.smaller(row) if is_faulty(each)]
        if not smaller:
            return row, rounds
        preferred = reduction.preferred(row, smaller)
        bold = [each for each in reduction.together(row, preferred) if is_faulty(each)]
        row = min([*preferred, *bold], key=reduction.size)
    raise AssertionError(row)


FAULTS: dict[str, tuple[Fault, dict[str, str]]] = {
    "beyond the eighth endpoint": (
        lambda row: row[of.AFFINITY] != of.NO_AFFINITY and int(row[of.ENDPOINTS]) > 8,
        {of.AFFINITY: "*", of.ENDPOINTS: "9"},
    ),
    "beyond the fifth endpoint": (lambda row: int(row[of.ENDPOINTS]) > 5, {of.ENDPOINTS: "6"}),
    "SCTP": (lambda row: row[of.PROTOCOL] == "SCTP", {of.PROTOCOL: "SCTP", of.ENDPOINTS: "0"}),
    "the second port": (
        lambda row: int(row[of.PORTS]) > 1,
        {of.PORTS: "2", of.PORT_NAME: "one character", of.ENDPOINTS: "0"},
    ),
    "a pair": (
        lambda row: row[of.SLICES] == of.SEVERAL_SLICES and row[of.INTERNAL_POLICY] == of.LOCAL,
        {of.SLICES: of.SEVERAL_SLICES, of.INTERNAL_POLICY: of.LOCAL, of.ENDPOINTS: "2"},
    ),
    "all": (lambda _: True, {of.ENDPOINTS: "0"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_smallest_shape_has_nothing_but_what_the_fault_needs(name: str) -> None:
    is_faulty, needed = FAULTS[name]
    for row in arrays.array(arrays.FULL).rows:
        if not is_faulty(row):
            continue
        found, rounds = smallest(row, is_faulty)

        values = reduction.difference_from_default(found)
        wanted = {key: values.get(key) if value == "*" else value for key, value in needed.items()}
        # A long name of a port is as small as a short one when it is needed at all.
        assert {**values, of.PORT_NAME: ""} == {**wanted, of.PORT_NAME: ""}, row
        assert rounds <= 8


def test_every_smaller_row_is_allowed_and_smaller_in_a_dimension() -> None:
    for row in arrays.array(arrays.COMPACT).rows:
        for other in reduction.smaller(row):
            assert FULL.is_allowed(other)
            assert other != row


def test_the_default_has_nothing_smaller_but_no_endpoint() -> None:
    assert reduction.smaller(DEFAULTS) == [{**DEFAULTS, of.ENDPOINTS: "0"}]


def test_all_numbers_of_endpoints_below_a_dozen_are_tried() -> None:
    row = {**DEFAULTS, of.ENDPOINTS: "9"}

    assert [each[of.ENDPOINTS] for each in reduction.smaller(row)] == [str(number) for number in range(9)]


def test_of_many_endpoints_some_numbers_are_tried_and_one_less() -> None:
    row = {**DEFAULTS, of.ENDPOINTS: "120"}

    tried = [int(each[of.ENDPOINTS]) for each in reduction.smaller(row)]
    assert (tried[0], tried[-1]) == (0, 119)
    assert len(tried) <= reduction.MOST_COUNTS + 1


def test_a_shape_in_words_has_what_is_no_default() -> None:
    assert reduction.describe({**DEFAULTS, of.PROTOCOL: "SCTP", of.ENDPOINTS: "9"}) == "protocol SCTP, endpoints 9"
    assert reduction.describe(DEFAULTS) == "all defaults"
