"""The order of the claims' tests, by what they look at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.background import LANES
from fixtures.shapes import OVER_BEFORE
from session_affinity.plugin.order import Turn, turn_of

if TYPE_CHECKING:
    from collections.abc import Callable


def api_only(service_api: None, check: None) -> None: ...
def of_nodes(nodes: None, check: None) -> None: ...
def of_background(walk: None, check: None) -> None: ...
def of_outage(restart: None, check: None) -> None: ...


def item(function: Callable[..., None], *markers: str) -> Any:
    """Return a test with these markers."""
    return SimpleNamespace(
        function=function, get_closest_marker=lambda name: SimpleNamespace(name=name) if name in markers else None
    )


@pytest.mark.parametrize(
    ("test", "turn"),
    [
        pytest.param(item(of_nodes), Turn.FIRST, id="nodes"),
        pytest.param(item(of_background), Turn.BACKGROUND, id="in the background"),
        pytest.param(item(of_nodes, "expiry"), Turn.SHARED_WAIT, id="expiry"),
        pytest.param(item(of_outage, "disruptive"), Turn.DISRUPTIVE, id="outage"),
    ],
)
def test_a_turn_follows_from_what_a_test_looks_at(test: Any, turn: Turn) -> None:
    assert turn_of(test, shared_wait=False, disruption=False) is turn
    assert turn_of(test, shared_wait=True, disruption=True) is turn


def test_claims_about_the_api_alone_fill_the_shared_wait() -> None:
    """They come first where there is none."""
    assert turn_of(item(api_only), shared_wait=False, disruption=True) is Turn.FIRST
    assert turn_of(item(api_only), shared_wait=True, disruption=True) is Turn.MEANWHILE
    assert Turn.BACKGROUND < Turn.MEANWHILE < Turn.SHARED_WAIT


def test_claims_about_the_clients_node_alone_are_judged_while_others_are_disturbed() -> None:
    """They come first where no test is disruptive."""
    beside = item(of_nodes, "client_node")

    assert turn_of(beside, shared_wait=True, disruption=False) is Turn.FIRST
    assert turn_of(beside, shared_wait=True, disruption=True) is Turn.BESIDE_DISRUPTION
    assert Turn.SHARED_WAIT < Turn.BESIDE_DISRUPTION < Turn.DISRUPTIVE


def test_what_goes_before_the_shapes_is_begun_in_the_background() -> None:
    begun = {name for works in LANES.values() for name in works}

    assert begun.issuperset(OVER_BEFORE)
