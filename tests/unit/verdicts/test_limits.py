"""A full list and a raised timeout, judged by observations written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.scenarios.limits.full_list import FullList, ListRead, ReturningClient
from session_affinity.verdicts.limits import judge_full_list, judge_return
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit


def full(world: World, expected: set[str], seen: set[str]) -> FullList:
    read = ListRead("one more set", frozenset(expected), frozenset(seen))
    return FullList(world.service, "a", "10.10.0.6", 3, (read,))


def test_a_list_of_the_most_recent_clients_holds(world: World) -> None:
    verdict = judge_full_list(full(world, {"10.10.0.6", "198.18.0.2"}, {"10.10.0.6", "198.18.0.2"}))

    assert verdict.ok
    assert verdict.headline == "list of 3: the client kept"


def test_a_list_that_dropped_another_client_does_not_hold(world: World) -> None:
    text = explained(judge_full_list(full(world, {"10.10.0.6", "198.18.0.2"}, {"198.18.0.1", "198.18.0.2"})))

    assert "expected: 2 clients, among them 10.10.0.6" in text
    assert "seen: 2 clients, among them 198.18.0.1" in text


def test_a_client_that_goes_back_to_its_old_endpoint_holds(world: World) -> None:
    first, _, last = world.service.endpoints
    seen = ReturningClient(
        world.service, first, last, world.answers(last.pod, last.pod), world.answers(first.pod, first.pod)
    )

    assert judge_return(seen).ok
    assert not judge_return(replace(seen, raised=world.answers(last.pod))).ok
    assert not judge_return(replace(seen, bound=world.answers(first.pod))).ok
