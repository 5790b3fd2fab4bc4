"""How often to ask whether something is ready: being asked must not be what a slow machine spends its time on."""

from __future__ import annotations

from typing import Final

_PART: Final = 0.05
"""What part of the time waited so far the next asking is put off,"""
_LONGEST_SECONDS: Final = 5.0
"""up to so many seconds."""


def pause(waited: float, shortest: float) -> float:
    """Return for how many seconds to put off the next asking, after so many have been waited."""
    return max(shortest, min(_PART * waited, _LONGEST_SECONDS))
