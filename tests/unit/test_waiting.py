"""Waiting for a condition: the moments of its checks, the message of a timeout, and the end of a wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.waiting import growing_pause, poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.unit


class Clock:
    """A clock that advances only while something sleeps or a condition is checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.now += seconds

    def check(self, seconds: float, *results: bool) -> Callable[[], bool]:
        """Return a condition whose check takes ``seconds``, with these results and then False."""
        left = list(results)

        def condition() -> bool:
            self.now += seconds
            return left.pop(0) if left else False

        return condition


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_first_true_result_is_returned() -> None:
    results = iter((None, None, "ready"))

    assert wait_until(lambda: next(results), 5, what="it", pause=0.001) == "ready"


@pytest.mark.parametrize(("first", "seconds", "pauses"), [(0.3, 5, [0.3]), (-1, 5, []), (0.3, 0.1, [0.1]), (9, -1, [])])
def test_the_first_check_comes_after_a_pause_of_its_own(
    clock: Clock, first: float, seconds: float, pauses: list[float]
) -> None:
    assert poll(clock.check(0.0, *[True]), seconds, first=first)
    assert clock.pauses == pauses


def test_a_cancelled_wait_does_not_pause_before_its_first_check() -> None:
    cancelled = threading.Event()
    cancelled.set()
    began = time.monotonic()

    assert poll(lambda: True, 60, first=60, cancelled=cancelled)
    assert time.monotonic() - began < 30


def test_a_condition_is_checked_once_even_when_time_is_over() -> None:
    checks: list[int] = []

    assert not poll(lambda: checks.append(1), -1)
    assert len(checks) == 1


def test_the_message_of_a_timeout_has_condition_seconds_last_state_and_next_step(clock: Clock) -> None:
    with pytest.raises(NotReadyError) as caught:
        wait_until(
            clock.check(0.0),
            3,
            what="pod a to be Ready",
            last_state=lambda: "Pending",
            next_step="see its events",
        )

    assert str(caught.value) == (
        "timed out after 3.0 s waiting for pod a to be Ready; last state: Pending\n  next: see its events"
    )


def test_the_default_next_step_is_a_longer_deadline(clock: Clock) -> None:
    with pytest.raises(NotReadyError, match="--deadline-scale"):
        wait_until(clock.check(0.0), 1, what="it")


@pytest.mark.parametrize("error", [AssertionError("affinity lost"), TypeError("a bug"), KeyboardInterrupt()])
def test_an_exception_ends_the_wait_at_once(error: BaseException) -> None:
    checks: list[int] = []

    def fails() -> bool:
        checks.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        wait_until(fails, 60, what="it")

    assert caught.value is error
    assert len(checks) == 1


def test_the_pause_is_as_long_as_a_check_takes(clock: Clock) -> None:
    assert not poll(clock.check(0.01), 0.2, pause=0.05)
    assert clock.pauses[:3] == [0.05, 0.05, 0.05]

    clock.pauses.clear()
    assert not poll(clock.check(2.0), 20, pause=0.05)
    assert clock.pauses[:2] == [2.0, 2.0]


def test_the_pause_is_at_most_five_seconds(clock: Clock) -> None:
    assert not poll(clock.check(30.0), 100)
    assert clock.pauses == [5.0, 5.0]


def test_exactly_one_check_is_at_the_deadline(clock: Clock) -> None:
    moments: list[float] = []

    def condition() -> bool:
        moments.append(round(clock.now - 1000, 6))
        return False

    assert not poll(condition, 1.0, pause=0.4)
    assert moments == [0.0, 0.4, 0.8, 1.0]


def test_a_growing_pause_is_a_part_of_the_time_waited(clock: Clock) -> None:
    assert not poll(clock.check(0.0), 200, pause=0.05, growing=True)
    assert clock.pauses[0] == 0.05
    assert max(clock.pauses) == 5.0
    assert clock.pauses[:-1] == sorted(clock.pauses[:-1])


@pytest.mark.parametrize(("waited", "pause"), [(0.0, 0.02), (10.0, 0.5), (1000.0, 5.0)])
def test_growing_pauses(waited: float, pause: float) -> None:
    assert growing_pause(waited, 0.02) == pause


def test_without_a_pause_the_condition_waits_itself(clock: Clock) -> None:
    assert not poll(clock.check(0.5), 2.0, pause=0)
    assert set(clock.pauses) == {0.0}


def test_a_cancelled_wait_ends_during_its_pause() -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.02, cancelled.set)
    timer.start()
    began = time.monotonic()

    assert not poll(lambda: False, 60, pause=30, cancelled=cancelled)
    assert time.monotonic() - began < 10
    timer.join()


def test_the_message_of_a_cancelled_wait_is_not_that_of_a_timeout() -> None:
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(NotReadyError, match=r"cancelled after .* waiting for it; last state: not there") as caught:
        wait_until(lambda: False, 60, what="it", last_state=lambda: "not there", cancelled=cancelled)
    assert not caught.value.next_step


def test_scaling_multiplies_every_deadline_and_the_scale() -> None:
    scaled = DEFAULTS.scaled(2.5)

    assert scaled.scale == 2.5
    assert scaled.sync == 2.5 * DEFAULTS.sync
    assert DEFAULTS.scaled(1) == DEFAULTS == Deadlines()
