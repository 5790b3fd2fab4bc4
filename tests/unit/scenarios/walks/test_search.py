"""The search finds the walk that a defective kube-proxy makes wrongly, and shrinks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import NotReadyError
from session_affinity.scenarios import comparison
from session_affinity.scenarios.walks.objects import Fault
from session_affinity.scenarios.walks.result import WalkResult
from session_affinity.scenarios.walks.run import run_walk
from session_affinity.scenarios.walks.search import Limits, Search, drawn
from session_affinity.scenarios.walks.steps import Scope, Wait
from session_affinity.scenarios.walks.walk import kinds, moves, seeded_walk, title
from tests.walk_world import NODES, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from session_affinity.scenarios.walks.steps import Kind, Step
    from session_affinity.scenarios.walks.walk import Move

WITHOUT_CLIENTS = tuple(kind for kind in kinds(Scope.NODES) if kind.name != "bind")


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "POLL_SECONDS", 0.001)


def search(defective: str, seconds: float, *, shrinking: float = 600.0) -> Search:
    def walk_once(walk: Sequence[Move]) -> WalkResult:
        return run_walk(World(defective=defective).ground(), walk, "")

    return Search(NODES, walk_once, Limits(seconds, shrinking))


def drawn_anywhere(among: Sequence[Kind], seed: str, length: int) -> tuple[Step, ...]:
    """Return steps that do not depend on which modules are imported, as those that Hypothesis draws do."""
    first, number = map(int, seed.split("/"))
    return tuple(move.step for move in seeded_walk(1000 * first + number, length, among, NODES))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_walk_is_shrunk_to_the_steps_that_cause_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.scenarios.walks.search.drawn", drawn_anywhere)
    found = search("two", 600)

    assert found.find(WITHOUT_CLIENTS, seed, length=60)
    assert found.best is not None
    _, result = found.best
    assert result.steps <= 5, result.script
    assert list(result.differences) == ["two"]
    assert "prlimit" in result.script


def test_a_search_ends_in_time_where_nothing_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = search("", 3.0)

    assert not found.find(WITHOUT_CLIENTS, 1, length=20)
    assert found.results
    assert all(result.is_right for result in found.results)
    assert not list(tmp_path.iterdir()), "Hypothesis left files"


def test_shrinking_ends_in_time_with_the_best_so_far() -> None:
    found = search("two", 600, shrinking=0.0)

    assert found.find(WITHOUT_CLIENTS, 1)
    assert found.best is not None
    assert not found.best[1].is_right
    assert found.attempts <= 1


def late(steps: int, **failed_syncs: int) -> WalkResult:
    return WalkResult("", steps, "", NODES, moves=steps, waits=1, failed_syncs=failed_syncs)


def test_a_node_that_is_late_without_a_failed_sync_ends_the_search_with_an_error() -> None:
    found = Search(NODES, lambda walk: late(len(walk), two=0), Limits(600, 600))

    with pytest.raises(NotReadyError, match="two: did not program a Service"):
        found.find(WITHOUT_CLIENTS, 1)
    assert found.best is None


def test_a_walk_is_not_shrunk_to_steps_after_which_a_node_was_merely_late() -> None:
    def walk_once(walk: Sequence[Move]) -> WalkResult:
        return late(len(walk), two=int(len(walk) > 10))

    found = Search(NODES, walk_once, Limits(600, 600))

    assert found.find(WITHOUT_CLIENTS, 1, length=40)
    assert found.best is not None
    assert found.best[1].steps == 11


def test_walks_are_the_same_for_a_seed_and_unlike_each_other() -> None:
    walks = [
        tuple(title(move) for move in moves(drawn(kinds(Scope.NODES), f"1/{number}", 150), NODES))
        for number in range(6)
    ]

    again = tuple(title(move) for move in moves(drawn(kinds(Scope.NODES), "1/3", 150), NODES))

    assert again == walks[3]
    for number, walk in enumerate(walks):
        shared = [len(set(walk) & set(other)) / len(set(walk)) for other in walks[:number]]
        assert max(shared, default=0.0) < 0.6, number


def test_most_walks_compare_the_nodes_while_a_kube_proxy_fails_to_sync() -> None:
    """Of 40 walks as of make walk, how many wait for nodes while syncs fail: what such a sync loses shows after it."""
    walks = [moves(drawn(kinds(Scope.NODES), f"1/{number}", 150), NODES) for number in range(40)]

    failing = [
        any(isinstance(move.step, Wait) and Fault.FAILING in move.before.faults.values() for move in walk)
        for walk in walks
    ]

    assert sum(failing) >= 28
