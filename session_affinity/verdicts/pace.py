"""Whether a client that loses requests of a stream had the processor time to send them.

A request that times out proves nothing of the Service when the client itself did not run for that long.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Final

from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import Answers
from session_affinity.traffic.curl import TIMED_OUT
from session_affinity.traffic.stream import PER_SECOND
from session_affinity.waiting import SLOW_MACHINE

if TYPE_CHECKING:
    from session_affinity.traffic.client import ClientId

BEHIND: Final = 2
"""A stream is behind when three of four requests came this many times later than they were due.

The quartile is 1.0 of the time that they are due, calm and at a load of 20. Where a claim failed falsely, at
a load of 60 to 85, the stream sent 4 requests a second instead of 20.
"""
ENOUGH: Final = 8
"""Pairs of answered requests, one after the other, that show a stream's pace."""


def without_timeouts(answers: Answers) -> Answers:
    """Return the answers without the requests that timed out."""
    return Answers(tuple(answer for answer in answers if answer.ok or not answer.error.startswith(TIMED_OUT)))


def require_pace(client: ClientId, *streamed: Answers) -> None:
    """Raise NotReadyError when a client's stream of requests was far behind its own rate.

    The answers are those of one stream, in order. Only requests between two answers count, so that lost ones, and those
    that were sent again, do not slow the stream: they are what is judged.
    """
    answers = [answer for part in streamed for answer in part]
    pauses = [
        later.not_before - earlier.not_before
        for earlier, later in itertools.pairwise(answers)
        if earlier.ok and later.ok and earlier.not_before is not None and later.not_before is not None
    ]
    if len(pauses) < ENOUGH:
        return
    quartile, _, _ = statistics.quantiles(pauses, n=4)
    if quartile > BEHIND / PER_SECOND:
        lost = sum(not answer.ok for answer in answers)
        raise NotReadyError(
            f"{client}: {lost} of {len(answers)} requests timed out, but three of four others were sent over"
            f" {quartile:.2f} s after the one before, instead of {1 / PER_SECOND:g} s: the client had no time to run",
            next_step=SLOW_MACHINE,
        )
