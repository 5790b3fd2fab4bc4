"""The order of the claims' tests: what goes on in the background is waited for as late as possible."""

from __future__ import annotations

import inspect
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Final

from session_affinity.plugin.claims import CLIENT_NODE, DISRUPTIVE

if TYPE_CHECKING:
    import pytest

IN_BACKGROUND: Final = frozenset(
    {
        *("many_clients", "endpoint_changes", "short_timeouts", "shapes", "answered_shapes", "walk"),
        *("switched_on_and_off", "switched_off_and_on", "services_without_rules", "datagram_services"),
        # What these change would disturb others.
        *("services_in_another_zone", "failed_syncs_before"),
    }
)
"""The arguments of tests that wait until something in the background is over."""
API_ONLY: Final = frozenset({"service_api", "check"})
"""The arguments of tests that look at nothing but answers of the API."""


class Turn(IntEnum):
    """When a test runs: tests of one turn in the order of the catalogue."""

    FIRST = auto()
    BACKGROUND = auto()
    MEANWHILE = auto()
    """While the shared wait goes on, and nothing else does."""
    SHARED_WAIT = auto()
    BESIDE_DISRUPTION = auto()
    """While nodes other than the client's are disturbed."""
    DISRUPTIVE = auto()


def turn_of(item: pytest.Item, *, shared_wait: bool, disruption: bool) -> Turn:
    """Return the turn of a claim's test.

    ``shared_wait`` says whether a test waits for the shared wait, ``disruption`` whether one is disruptive.
    """
    if is_disruptive(item):
        return Turn.DISRUPTIVE
    if disruption and is_beside_disruption(item):
        return Turn.BESIDE_DISRUPTION
    if needs_shared_wait(item):
        return Turn.SHARED_WAIT
    if _arguments(item) & IN_BACKGROUND:
        return Turn.BACKGROUND
    return Turn.MEANWHILE if shared_wait and _arguments(item) == API_ONLY else Turn.FIRST


def is_disruptive(item: pytest.Item) -> bool:
    """Return whether a test disturbs what other tests rely on."""
    return item.get_closest_marker(DISRUPTIVE) is not None


def is_beside_disruption(item: pytest.Item) -> bool:
    """Return whether a test relies on the client's node alone, so that others may be disturbed meanwhile."""
    return item.get_closest_marker(CLIENT_NODE) is not None


def needs_shared_wait(item: pytest.Item) -> bool:
    """Return whether a test needs the shared wait for the 30 s timeout."""
    return item.get_closest_marker("expiry") is not None


def _arguments(item: pytest.Item) -> frozenset[str]:
    function = getattr(item, "function", None)
    return frozenset(inspect.signature(function).parameters) if function else frozenset()
