"""Whether requests are spread evenly over the endpoints, with a bound for the false alarm of an even dataplane.

The statistic is Pearson's chi-square for equal chances. Its limit comes from the multinomial distribution itself,
counted in whole numbers, not from the chi-square distribution, which is wrong far out in the tail.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from session_affinity.errors import NothingObservedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MOST_OUTCOMES: Final = 40_000
"""Outcomes above which a bound is used instead of the exact limit: five endpoints and some 200 requests."""


@dataclass(frozen=True)
class SpreadVerdict:
    """Whether requests reached every endpoint and reached them evenly.

    ``chi2`` may be up to ``threshold``; a dataplane that chooses evenly fails the verdict with a probability of at most
    ``false_alarm``. ``p_value`` is the probability of a spread at least this uneven, an upper bound where ``exact`` is
    false or it is below ``false_alarm``. ``band`` is the range of counts that the threshold allows a single endpoint.
    ``strangers`` answered without being an endpoint.
    """

    counts: Mapping[str, int]
    strangers: Mapping[str, int]
    expected: float
    band: tuple[int, int]
    chi2: float
    threshold: float
    p_value: float
    false_alarm: float
    exact: bool

    @property
    def requests(self) -> int:
        """How many answers of endpoints were counted."""
        return sum(self.counts.values())

    @property
    def unreached(self) -> tuple[str, ...]:
        """The endpoints that never answered."""
        return tuple(endpoint for endpoint, count in self.counts.items() if not count)

    @property
    def uniform(self) -> bool:
        """Whether the spread is as even as chance allows."""
        return self.chi2 <= self.threshold

    @property
    def ok(self) -> bool:
        """Whether every endpoint answered, no other pod did, and the spread is even."""
        return self.uniform and not self.unreached and not self.strangers

    def explain(self) -> str:
        """Return the verdict with every number it rests on."""
        low, high = self.band
        judged = "spread evenly" if self.uniform else "not spread evenly"
        bound = "exact" if self.exact else "a conservative bound"
        at_most = "" if self.exact and self.uniform else "at most "
        lines = [
            f"{self.requests} requests over {len(self.counts)} endpoints: {judged}",
            f"  chi-square {self.chi2:.2f}, p-value {at_most}{self.p_value:.3g}",
            f"  allowed up to {self.threshold:.2f}, {bound} for a false alarm of {self.false_alarm:.1e}",
            f"  {self.expected:.1f} expected per endpoint, {low}..{high} allowed",
        ]
        for endpoint, count in self.counts.items():
            note = "never reached" if not count else "" if low <= count <= high else "outside the band"
            share = 100 * count / self.requests if self.requests else 0.0
            lines.append(f"  {endpoint}: {count} ({share:.1f} %){', ' + note if note else ''}")
        lines += [f"  {name}: {count}, which is no endpoint" for name, count in self.strangers.items()]
        return "\n".join(lines)


def judge_spread(counts: Mapping[str, int], endpoints: Sequence[str], false_alarm: float) -> SpreadVerdict:
    """Judge how answers spread over endpoints; an endpoint without a count has answered nothing.

    The chance that even choices miss an endpoint altogether is paid for out of ``false_alarm`` first. Raises
    NothingObservedError without endpoints or without any answer. Raises UsageError when a missed endpoint alone costs
    more than ``false_alarm``: no verdict is possible on so few requests.
    """
    if not endpoints or not any(counts.values()):
        raise NothingObservedError(
            f"a spread over {len(endpoints)} endpoints: nothing was observed, so nothing can be judged"
        )
    reached = {endpoint: counts.get(endpoint, 0) for endpoint in endpoints}
    requests, number = sum(reached.values()), len(reached)
    if not 0 < false_alarm < 1:
        raise UsageError(f"cannot judge a spread at a false alarm of {false_alarm}: it is a probability")
    missed = _one_missed(requests, number)
    if missed >= false_alarm:
        needed = next(n for n in range(requests + 1, 10**6) if _one_missed(n, number) < false_alarm / 2)
        raise UsageError(
            f"{requests} requests are too few to judge {number} endpoints: an even choice misses one with a "
            f"probability of up to {missed:.1e}, {false_alarm:.1e} is allowed",
            next_step=f"send at least {needed} requests",
        )
    limits = _limits(requests, number, false_alarm - missed)
    squares = sum(count * count for count in reached.values())
    threshold = limits.chi2(limits.most)
    expected = requests / number
    reach = math.sqrt(threshold * expected * (number - 1) / number)
    return SpreadVerdict(
        counts=reached,
        strangers={name: count for name, count in counts.items() if name not in reached and count},
        expected=expected,
        band=(max(0, math.ceil(expected - reach - 1e-9)), min(requests, math.floor(expected + reach + 1e-9))),
        chi2=limits.chi2(squares),
        threshold=threshold,
        p_value=limits.p_value(squares),
        false_alarm=false_alarm,
        exact=limits.exact,
    )


@dataclass(frozen=True)
class _Limits:
    """How uneven even choices get. The sum of squared counts stands for chi-square: it grows with it and is whole.

    ``tails`` holds, ascending, sums of squares with the probability of each or more.
    """

    requests: int
    endpoints: int
    most: int
    exact: bool
    tails: tuple[tuple[int, float], ...] = ()

    def chi2(self, squares: int) -> float:
        return self.endpoints * squares / self.requests - self.requests

    def p_value(self, squares: int) -> float:
        if not self.exact:
            return _union_bound(self.requests, self.endpoints, _deviation(self, squares))
        return next((tail for value, tail in self.tails if value >= squares), self.tails[-1][1])


def _one_missed(requests: int, endpoints: int) -> float:
    """Bound the probability that even choices leave out an endpoint."""
    return min(1.0, endpoints * (1 - 1 / endpoints) ** requests) if requests else 1.0


@lru_cache(maxsize=64)
def _limits(requests: int, endpoints: int, false_alarm: float) -> _Limits:
    total = endpoints**requests
    # Where to stop counting is a guess (Wilson and Hilferty's); that it is far enough is seen from what was counted.
    freedom = max(endpoints - 1, 1)
    spread = NormalDist().inv_cdf(1 - min(false_alarm, 0.5) / 8) * math.sqrt(2 / (9 * freedom))
    reach = freedom * (1 - 2 / (9 * freedom) + spread) ** 3
    while _about_how_many(requests, endpoints, reach) < _MOST_OUTCOMES:
        cap = math.floor(requests * (requests + reach) / endpoints)
        weights = Counter[int]()
        for squares, weight in _outcomes(requests, endpoints, cap):
            weights[squares] += weight
        values = sorted(weights)
        counted = list(accumulate(weights[value] for value in values))
        # Both are ratios of whole numbers, rounded once.
        beyond = [(total - upto) / total for upto in counted]
        if beyond and beyond[-1] <= false_alarm:
            most = next(value for value, tail in zip(values, beyond, strict=True) if tail <= false_alarm)
            tails = tuple(zip(values, [1.0, *beyond[:-1]], strict=True))
            return _Limits(requests, endpoints, most, exact=True, tails=(*tails, (requests**2 + 1, beyond[-1])))
        reach *= 1.5
    return _conservative(requests, endpoints, false_alarm)


def _outcomes(requests: int, endpoints: int, cap: int) -> Iterator[tuple[int, int]]:
    """Yield the sum of squares and the number of ways of every outcome, endpoints interchangeable, up to ``cap``."""

    def place(left: int, parts: int, largest: int, *, squares: int, weight: int, run: int) -> Iterator[tuple[int, int]]:
        if parts == 1:
            if left <= largest and squares + left * left <= cap:
                yield squares + left * left, weight // (run + 1 if left == largest else 1)
            return
        count = -(-left // parts)
        choices = math.comb(left, count)
        while count <= min(largest, left):
            after, upto = left - count, squares + count * count
            if upto * (parts - 1) + after * after > cap * (parts - 1):
                break
            again = run + 1 if count == largest else 1
            yield from place(after, parts - 1, count, squares=upto, weight=weight * choices // again, run=again)
            choices = choices * after // (count + 1)
            count += 1

    yield from place(requests, endpoints, requests + 1, squares=0, weight=math.factorial(endpoints), run=0)


def _about_how_many(requests: int, endpoints: int, reach: float) -> float:
    """Estimate the outcomes up to a chi-square: lattice points of a ball, over the arrangements of each."""
    half = (endpoints - 1) / 2
    volume: float = math.pi**half / math.gamma(half + 1) * (reach * requests / endpoints) ** half
    return volume / math.sqrt(endpoints) / math.factorial(endpoints)


def _conservative(requests: int, endpoints: int, false_alarm: float) -> _Limits:
    """Bound chi-square by its largest deviation: at most ``endpoints`` times that squared over the expectation."""
    # Deviations are counted in units of 1/endpoints, so that they are whole.
    low, high = 0, requests * endpoints
    while low < high:
        middle = (low + high) // 2
        if _union_bound(requests, endpoints, middle + 1) <= false_alarm:
            high = middle
        else:
            low = middle + 1
    # chi2 <= endpoints * (low / endpoints)**2 / (requests / endpoints), hence the sum of squares:
    most = (requests * requests + low * low) // endpoints
    return _Limits(requests, endpoints, most, exact=False)


def _deviation(limits: _Limits, squares: int) -> int:
    """Return the least largest deviation, in units of 1/endpoints, that a sum of squares implies."""
    total = limits.endpoints * squares - limits.requests**2
    return math.isqrt(total - 1) + 1 if total > 0 else 0


def _union_bound(requests: int, endpoints: int, deviation: int) -> float:
    """Bound the probability that some endpoint is off by ``deviation``/endpoints or more: the sum over all of them."""
    least = -(-(requests + deviation) // endpoints)
    most = (requests - deviation) // endpoints
    upto, total = _binomial(requests, endpoints), endpoints**requests
    above = (total - upto[least - 1]) / total if least <= requests else 0.0
    below = upto[most] / total if most >= 0 else 0.0
    return min(1.0, endpoints * (above + below))


@lru_cache(maxsize=8)
def _binomial(requests: int, endpoints: int) -> tuple[int, ...]:
    """Return, for each count, how many of the ``endpoints**requests`` sequences give one endpoint at most so many."""
    others = [1]
    for _ in range(requests):
        others.append(others[-1] * (endpoints - 1))
    return tuple(accumulate(math.comb(requests, count) * others[requests - count] for count in range(requests + 1)))
