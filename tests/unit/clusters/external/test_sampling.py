"""Samples of nodes, and the probability that one misses a defect."""

from __future__ import annotations

from itertools import combinations

import pytest

from session_affinity.clusters.external.sampling import found_from, missed, sample, statement

pytestmark = pytest.mark.unit

NAMES = [f"node-{number}" for number in range(1000)]


def test_a_sample_is_the_same_whatever_the_order_and_keeps_its_nodes() -> None:
    chosen = sample(NAMES, 50)

    assert len(set(chosen)) == 50
    assert sample(reversed(NAMES), 50) == chosen
    assert sample(NAMES, 20) == chosen[:20]
    gone = [name for name in NAMES if name != chosen[0]]
    assert set(chosen[1:]) <= set(sample(gone, 50))


def test_no_part_of_the_cluster_is_preferred() -> None:
    halves = [sum(name in sample(NAMES, 500) for name in half) for half in (NAMES[:500], NAMES[500:])]

    # Five standard deviations of the hypergeometric distribution are 40.
    assert abs(halves[0] - halves[1]) <= 80


def test_the_probability_of_a_miss_is_counted_over_all_samples() -> None:
    samples = list(combinations(range(7), 3))
    without = [chosen for chosen in samples if not {0, 1} & set(chosen)]

    assert missed(7, 3, 2) == pytest.approx(len(without) / len(samples))


@pytest.mark.parametrize(
    ("nodes", "judged", "defective", "probability"),
    [(10, 10, 1, 0.0), (10, 5, 0, 1.0), (10, 5, 1, 0.5), (10, 5, 6, 0.0), (5000, 50, 1, 0.99)],
)
def test_bounds_of_a_miss(nodes: int, judged: int, defective: int, probability: float) -> None:
    assert missed(nodes, judged, defective) == pytest.approx(probability)


def test_a_defect_is_found_from_the_least_number_of_nodes_on() -> None:
    least = found_from(5000, 50)

    assert missed(5000, 50, least) <= 0.05 < missed(5000, 50, least - 1)
    assert found_from(4, 4) == 1


def test_a_statement_says_what_is_judged_and_what_is_missed() -> None:
    assert statement(5000, 200) == (
        "200 of 5000 nodes are judged: a defect on one node is missed with probability 96.0%, one on 73 nodes with at"
        " most 5%"
    )
