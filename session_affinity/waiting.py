"""Waiting for a condition until a deadline: the only polling in the project.

``wait_until`` raises NotReadyError with the last state; ``poll`` returns whether the condition was met, for callers
that continue after the deadline. An exception of the condition, an AssertionError above all, ends the wait and is
raised; no exception causes a retry.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

import tenacity

from session_affinity.errors import NotReadyError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

LONGEST_PAUSE_SECONDS: Final = 5.0
GROWING_PART: Final = 0.05
"""The length of a growing pause as a part of the time waited so far."""
SLOW_MACHINE: Final = "on a slow machine raise --deadline-scale"
"""The end of a next step if the deadline may have been too short."""

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    seconds: float,
    *,
    what: str,
    last_state: Callable[[], str] | None = None,
    next_step: str = SLOW_MACHINE,
    pause: float = 0.05,
    growing: bool = False,
    cancelled: threading.Event | None = None,
) -> T:
    """Wait until a condition returns a true value, and return that value; raises NotReadyError after ``seconds``.

    ``what`` completes "timed out waiting for" and has the place. ``last_state`` is called after the deadline and
    returns the last state in words. ``pause``, ``growing`` and ``cancelled`` are those of ``poll``; a cancelled wait
    raises NotReadyError too.
    """
    began = time.monotonic()
    if value := _poll(condition, seconds, pause=pause, growing=growing, cancelled=cancelled):
        return value
    was_cancelled = cancelled is not None and cancelled.is_set()
    ended = "cancelled" if was_cancelled else "timed out"
    state = f"; last state: {last_state()}" if last_state else ""
    raise NotReadyError(
        f"{ended} after {time.monotonic() - began:.1f} s waiting for {what}{state}",
        next_step="" if was_cancelled else next_step,
    )


def poll(
    condition: Callable[[], object],
    seconds: float,
    *,
    pause: float = 0.05,
    growing: bool = False,
    cancelled: threading.Event | None = None,
    first: float = 0.0,
) -> bool:
    """Check a condition until it is true, ``seconds`` are over or ``cancelled`` is set; return whether it was true.

    The condition is checked at least once, and a last time at the deadline. The pause between two checks is ``pause``
    seconds, or as long as the last check took (at most 5 s), so that slow checks do not starve what they wait for.
    ``growing`` makes it 5 % of the time waited so far, at least ``pause`` and at most 5 s, so that polling does not
    slow down a starting machine. ``pause=0`` is for conditions that wait themselves. ``first`` is a pause before the
    first check, for conditions that cannot be true yet.
    """
    return bool(_poll(condition, seconds, pause=pause, growing=growing, cancelled=cancelled, first=first))


def growing_pause(waited: float, shortest: float) -> float:
    """Return the pause after ``waited`` seconds: 5 % of them, at least ``shortest`` and at most 5 s."""
    return max(shortest, min(GROWING_PART * waited, LONGEST_PAUSE_SECONDS))


def _poll(
    condition: Callable[[], T | None],
    seconds: float,
    *,
    pause: float,
    growing: bool,
    cancelled: threading.Event | None,
    first: float = 0.0,
) -> T | None:
    deadline = time.monotonic() + seconds
    check_began = 0.0

    def before(_: tenacity.RetryCallState) -> None:
        nonlocal check_began
        check_began = time.monotonic()

    def wait(state: tenacity.RetryCallState) -> float:
        now = time.monotonic()
        if growing:
            length = growing_pause(now - state.start_time, pause)
        else:
            length = max(pause, min(now - check_began, LONGEST_PAUSE_SECONDS)) if pause else 0.0
        return max(min(length, deadline - now), 0.0)

    def stop(_: tenacity.RetryCallState) -> bool:
        return time.monotonic() >= deadline or (cancelled is not None and cancelled.is_set())

    sleep = tenacity.nap.sleep if cancelled is None else tenacity.sleep_using_event(cancelled)
    if min(first, seconds) > 0:
        sleep(min(first, seconds))
    retrying = tenacity.Retrying(
        stop=stop,
        wait=wait,
        retry=tenacity.retry_if_result(lambda value: not value),
        sleep=sleep,
        before=before,
        retry_error_callback=lambda _: None,
    )
    return retrying(condition)
