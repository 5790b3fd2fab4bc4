"""The verdict on the spread, against counting every sequence of choices and against simulation with fixed seeds."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from fractions import Fraction
from math import isclose

import pytest

from session_affinity.errors import NothingObservedError, UsageError
from session_affinity.verdicts import spread
from session_affinity.verdicts.spread import judge_spread

pytestmark = pytest.mark.unit

PODS = ("webpod1", "webpod2", "webpod3")


def squares_by_brute_force(requests: int, endpoints: int) -> Counter[int]:
    sequences = itertools.product(range(endpoints), repeat=requests)
    return Counter(sum(c.count(i) ** 2 for i in range(endpoints)) for c in sequences)


@pytest.mark.parametrize(("requests", "endpoints"), [(1, 2), (9, 2), (8, 3), (6, 4), (5, 5), (4, 1)])
@pytest.mark.parametrize("false_alarm", [0.3, 0.05, 0.004])
def test_the_exact_limit_is_that_of_counting_every_sequence(requests: int, endpoints: int, false_alarm: float) -> None:
    counted, total = squares_by_brute_force(requests, endpoints), endpoints**requests

    limits = spread._limits(requests, endpoints, false_alarm)

    assert limits.exact
    beyond = {value: Fraction(sum(n for v, n in counted.items() if v > value), total) for value in counted}
    assert limits.most == min(value for value, tail in beyond.items() if tail <= false_alarm)
    for value, n in counted.items():
        truth = beyond[value] + Fraction(n, total)
        assert isclose(limits.p_value(value), truth) or limits.p_value(value) > truth
        assert isclose(limits.p_value(value), truth) or value > limits.most


@pytest.mark.parametrize(("requests", "endpoints"), [(8, 3), (9, 2), (6, 4)])
@pytest.mark.parametrize("false_alarm", [0.3, 0.05, 0.004])
def test_the_bound_for_many_endpoints_is_never_below_the_truth(
    requests: int, endpoints: int, false_alarm: float
) -> None:
    counted, total = squares_by_brute_force(requests, endpoints), endpoints**requests

    limits = spread._conservative(requests, endpoints, false_alarm)

    assert sum(n for value, n in counted.items() if value > limits.most) / total <= false_alarm
    for value in counted:
        truth = sum(n for other, n in counted.items() if other >= value) / total
        assert limits.p_value(value) >= truth * (1 - 1e-12)


@pytest.mark.parametrize(("requests", "endpoints"), [(100, 3), (150, 3), (300, 3), (100, 4)])
def test_the_bound_contains_the_exact_limit(requests: int, endpoints: int) -> None:
    exact, bound = spread._limits(requests, endpoints, 1e-6), spread._conservative(requests, endpoints, 1e-6)

    assert exact.exact
    assert exact.most <= bound.most


def test_many_endpoints_fall_back_to_the_bound() -> None:
    verdict = judge_spread(dict.fromkeys("abcdefgh", 100), "abcdefgh", 1e-6)

    assert (verdict.ok, verdict.exact) == (True, False)
    assert "conservative" in verdict.explain()


def test_three_endpoints_and_a_thousand_requests_are_judged_at_once() -> None:
    spread._limits.cache_clear()
    begun = time.process_time()

    verdict = judge_spread(dict(zip(PODS, (333, 334, 333), strict=True)), PODS, 1e-7)

    assert verdict.ok
    assert verdict.exact
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("counts", "ok"),
    [
        ((34, 33, 33), True),
        ((50, 30, 20), True),
        ((90, 5, 5), False),
        ((50, 50, 0), False),
        ((100, 0, 0), False),
    ],
)
def test_a_hundred_requests(counts: tuple[int, int, int], *, ok: bool) -> None:
    assert judge_spread(dict(zip(PODS, counts, strict=True)), PODS, 1e-6).ok is ok


def test_an_endpoint_that_has_no_count_was_never_reached() -> None:
    verdict = judge_spread({"webpod1": 60, "webpod2": 60}, PODS, 1e-6)

    assert verdict.unreached == ("webpod3",)
    assert "webpod3: 0 (0.0 %), never reached" in verdict.explain()


def test_an_answer_from_elsewhere_is_named_and_not_ok() -> None:
    verdict = judge_spread({"webpod1": 40, "webpod2": 40, "webpod3": 40, "old": 1}, PODS, 1e-6)

    assert (verdict.uniform, verdict.ok) == (True, False)
    assert "old: 1, which is no endpoint" in verdict.explain()


def test_too_few_requests_cannot_be_judged_and_the_error_says_how_many_can() -> None:
    with pytest.raises(UsageError, match=r"9 requests are too few .*\n.*at least 39 requests"):
        judge_spread({"webpod1": 9}, PODS, 1e-6)

    assert judge_spread(dict.fromkeys(PODS, 13), PODS, 1e-6).ok


def test_explain_has_every_number() -> None:
    text = judge_spread({"webpod1": 90, "webpod2": 30, "webpod3": 30}, PODS, 1e-6).explain()

    for part in ("150 requests over 3 endpoints: not spread evenly", "chi-square 48.00", "p-value at most",
                 "allowed up to 27.52", "false alarm of 1.0e-06", "50.0 expected", "20..80", "webpod1: 90 (60.0 %)",
                 "outside the band"):  # fmt: skip
        assert part in text


def test_no_count_outside_the_band_passes_and_the_band_is_not_wider_than_needed() -> None:
    verdict = judge_spread(dict.fromkeys(PODS, 50), PODS, 1e-6)
    low, high = verdict.band

    assert judge_spread(dict(zip(PODS, (high, (150 - high) // 2, 150 - high - (150 - high) // 2), strict=True)),
                        PODS, 1e-6).uniform  # fmt: skip
    for count in (low - 1, high + 1):
        rest = 150 - count
        assert not judge_spread(dict(zip(PODS, (count, rest // 2, rest - rest // 2), strict=True)), PODS, 1e-6).uniform


@pytest.mark.parametrize("seed", range(5))
def test_false_alarms_are_as_rare_as_promised(seed: int) -> None:
    chance = random.Random(seed)
    alarms, rounds, false_alarm = 0, 400, 0.02
    for _ in range(rounds):
        counts = Counter(chance.choices(PODS, k=60))
        alarms += not judge_spread(counts, PODS, false_alarm).ok

    # Six standard deviations of Binomial(400, 0.02) above its mean.
    assert alarms <= 8 + 6 * 2.8


@pytest.mark.parametrize("seed", range(5))
def test_a_skew_of_ninety_to_ten_is_found(seed: int) -> None:
    counts = Counter(random.Random(seed).choices(PODS, weights=(90, 5, 5), k=150))

    assert not judge_spread(counts, PODS, 1e-6).uniform


@pytest.mark.parametrize(("counts", "endpoints"), [({"webpod1": 300}, ()), ({}, PODS), ({"webpod1": 0}, PODS)])
def test_nothing_observed_is_no_spread(counts: dict[str, int], endpoints: tuple[str, ...]) -> None:
    with pytest.raises(NothingObservedError, match="nothing was observed"):
        judge_spread(counts, endpoints, 1e-6)
