"""Which clients a list holds."""

from __future__ import annotations

import pytest

from session_affinity.scenarios.limits.full_list import LeastRecentlySet

pytestmark = pytest.mark.unit


def test_one_more_takes_the_place_of_the_one_not_set_for_longest() -> None:
    listed = LeastRecentlySet(3)

    listed.set("a", "b", "c")
    listed.set("a")
    listed.set("d")

    assert listed.clients == {"a", "c", "d"}


def test_a_list_that_is_not_full_gives_up_nobody() -> None:
    listed = LeastRecentlySet(3)

    listed.set("a", "a", "b")

    assert listed.clients == {"a", "b"}
