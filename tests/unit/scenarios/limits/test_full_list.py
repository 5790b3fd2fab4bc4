"""The model of a recent list of limited size."""

from __future__ import annotations

import pytest

from session_affinity.scenarios.limits.full_list import LeastRecentlySet

pytestmark = pytest.mark.unit


def test_a_new_client_replaces_the_one_set_least_recently() -> None:
    model = LeastRecentlySet(3)

    model.set("a", "b", "c")
    model.set("a")
    model.set("d")

    assert model.clients == {"a", "c", "d"}


def test_a_list_that_is_not_full_keeps_all_clients() -> None:
    model = LeastRecentlySet(3)

    model.set("a", "a", "b")

    assert model.clients == {"a", "b"}
