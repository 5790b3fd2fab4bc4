"""The arrays in the repository: they cover all that is feasible, by shapes that the API accepts."""

from __future__ import annotations

import pytest

from session_affinity.dataplane.iptables.leftovers import LARGE_CLUSTER_ENDPOINTS
from session_affinity.errors import UsageError
from session_affinity.shapes import arrays
from session_affinity.shapes.dimensions import DEFAULTS, FULL, SPACES
from session_affinity.shapes.objects import MOST_NUMBERS


@pytest.mark.parametrize("name", SPACES)
def test_every_feasible_pair_and_triple_is_covered(name: str) -> None:
    covered = arrays.array(name).coverage()

    assert covered.pairs == covered.feasible_pairs > 700
    assert covered.triples == covered.feasible_triples
    assert covered.triples > 400 or name == arrays.ANSWERED


@pytest.mark.parametrize("name", SPACES)
def test_every_row_is_allowed_and_has_addresses_of_its_own(name: str) -> None:
    rows = arrays.array(name).rows

    assert all(FULL.is_allowed(row) and row.keys() == DEFAULTS.keys() for row in rows)
    assert len(rows) <= MOST_NUMBERS


@pytest.mark.parametrize("name", SPACES)
def test_the_first_line_of_a_file_says_how_it_was_made(name: str) -> None:
    array = arrays.array(name)
    first = arrays.path_of(name).read_text().splitlines()[0]

    assert first == (
        f"# Made by `{arrays.COMMAND}`, seed {arrays.SEED}. {len(array.rows)} Services cover {array.coverage()}."
    )


def test_the_compact_array_makes_no_cluster_large() -> None:
    """Above a thousand endpoints kube-proxy puts off cleaning up, which claims about other Services would notice."""
    rows = arrays.array(arrays.COMPACT).rows

    assert 100 <= len(rows) <= 150
    assert sum(map(arrays.endpoint_count, rows)) < LARGE_CLUSTER_ENDPOINTS / 2


def test_rows_of_a_seed_are_the_same_each_time() -> None:
    space = SPACES[arrays.ANSWERED]

    assert arrays.made(space, 1) == arrays.made(space, 1) != arrays.made(space, 2)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(UsageError, match="no array of shapes 'large'"):
        arrays.array("large")


def test_coverage_without_refused_rows_is_less() -> None:
    array = arrays.array(arrays.COMPACT)

    assert array.coverage(without=range(50)).pairs < array.coverage().pairs
    assert array.coverage(without=range(50)).feasible_pairs == array.coverage().feasible_pairs
