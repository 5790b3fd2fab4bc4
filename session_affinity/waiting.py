"""Waiting for a condition, with a deadline: the only polling of the project.

``wait_until`` raises NotReadyError with the last state seen; ``poll`` returns whether the condition was met, for
callers that go on after the deadline. Nothing is retried because of an exception: what a condition raises, an
AssertionError above all, ends the wait and reaches the caller.
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
"""The part of the time waited so far that a growing pause lasts."""
SLOW_MACHINE: Final = "on a slow machine raise --deadline-scale"
"""The end of a next step where the deadline may simply have been too short."""

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
    """Wait until a condition returns something true, and return that; raises NotReadyError after ``seconds``.

    ``what`` completes "timed out waiting for" and says where. ``last_state`` is called after the deadline and
    returns the state that was seen last, in words. ``pause``, ``growing`` and ``cancelled`` are as for ``poll``; a wait
    that is cancelled raises NotReadyError too.
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
) -> bool:
    """Check a condition until it is true, ``seconds`` are over or the event is set; return whether it was true.

    The condition is checked at least once, and once more when the time is over. Between two checks are ``pause``
    seconds, or as many as the last check took, at most 5: a check that takes long keeps busy what is waited for.
    ``growing`` makes the pause 5 % of the time waited so far, at most 5 s and at least ``pause``: for a machine whose
    start must not be slowed down by being looked at. With ``pause=0`` there is none: the condition itself waits.
    """
    return bool(_poll(condition, seconds, pause=pause, growing=growing, cancelled=cancelled))


def growing_pause(waited: float, shortest: float) -> float:
    """Return the seconds to the next check when so many seconds have been waited: 5 % of them, at most 5."""
    return max(shortest, min(GROWING_PART * waited, LONGEST_PAUSE_SECONDS))


def _poll(
    condition: Callable[[], T | None],
    seconds: float,
    *,
    pause: float,
    growing: bool,
    cancelled: threading.Event | None,
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

    retrying = tenacity.Retrying(
        stop=stop,
        wait=wait,
        retry=tenacity.retry_if_result(lambda value: not value),
        sleep=tenacity.nap.sleep if cancelled is None else tenacity.sleep_using_event(cancelled),
        before=before,
        retry_error_callback=lambda _: None,
    )
    return retrying(condition)
