"""Services of an array, compared, deleted and made smaller: with nodes that are wrong for some shapes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.capacity import NoRoomError, Selection
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.scenarios import shapes as scenario
from session_affinity.scenarios.comparison import Comparison
from session_affinity.scenarios.shapes import ShapeMaker, ShapesSeen, observe
from session_affinity.shapes import arrays
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.objects import Site, SiteNode

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from session_affinity.dataplane.model import Family, ServiceState

Json = dict[str, Any]
SITE = Site((SiteNode("a", "east", ("172.30.0.2",)), SiteNode("b", "west", ("172.30.0.3",))))
ARRAY = arrays.array(arrays.COMPACT)


class Few:
    """Has room for so many Services at the same time, and never for one that is balanced."""

    def __init__(self, most: int) -> None:
        self.turn = threading.Lock()
        self.most = most

    def select(self, needed: Mapping[int, Counter[str]]) -> Selection:
        if not self.most:
            raise NoRoomError("no address is free")
        balanced = {number: "no load balancers" for number, each in needed.items() if each["load balancers"]}
        numbers = [number for number in needed if number not in balanced]
        return Selection(tuple(numbers[: self.most]), balanced, "few are free")


class Stored:
    """Keeps what was made, and refuses the groups of some Services."""

    def __init__(self, refuses: Callable[[Json], str] = lambda _: "") -> None:
        self.refuses = refuses
        self.groups: list[Sequence[Json]] = []
        self.made = 0
        self.batches: list[int] = []
        self.full_after: int | None = None

    def create_accepted(self, groups: Sequence[Sequence[Json]]) -> dict[int, str]:
        assert not self.groups, "the last batch is still there"
        if self.full_after is not None and self.made >= self.full_after:
            raise NoRoomError("POST: 500: range is full")
        self.batches.append(len(groups))
        reasons = {number: self.refuses(group[0]) for number, group in enumerate(groups)}
        self.groups = [group for number, group in enumerate(groups) if not reasons[number]]
        self.made += len(groups)
        return {number: reason for number, reason in reasons.items() if reason}

    def delete_all(self) -> None:
        self.groups = []

    def states(self) -> list[ServiceState]:
        services = []
        for service, *_ in self.groups:
            addressed = {"clusterIP": "10.200.1.1", **service["spec"]}
            services.append({**service, "spec": addressed})
        return handmade.states(services, [piece for _, *slices in self.groups for piece in slices])


def seen(
    monkeypatch: pytest.MonkeyPatch,
    is_wrong: Callable[[ServiceState], bool],
    stored: Stored | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    most: int | None = None,
) -> ShapesSeen:
    """Observe the compact array on two nodes of which the second is wrong for some Services."""
    made = stored or Stored()

    def compare(*_: object, **__: object) -> Comparison:
        states = made.states()
        wrong = {state: (difference(state.name),) for state in states if is_wrong(state)}
        return Comparison(tuple(states), {"a": {}, "b": wrong}, {}, {"a": 1.0, "b": 1.0}, owners=tuple(states))

    monkeypatch.setattr(scenario, "compare", compare)
    fake: Any = made
    testbeds: dict[Family, Any] = {"IPv4": None}
    capacity: Any = None if most is None else Few(most)
    return observe(testbeds, ShapeMaker(fake, SITE, capacity), ARRAY, on_progress)


def difference(name: str) -> Difference:
    return Difference("b", "KUBE-SVC-X", 9, Aspect.AFFINITY_PRESENCE, "a rule", "none", f"Service work/{name}")


def test_everything_is_made_compared_and_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored()

    found = seen(monkeypatch, lambda _: False, stored)

    assert len(found.rows) == len(found.compared["IPv4"].services) == len(ARRAY.rows)
    assert stored.groups == []
    assert found.differing == {"IPv4": ()}
    assert found.coverage == ARRAY.coverage()


def test_the_smallest_shape_of_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks_rules(state: ServiceState) -> bool:
        return state.has_affinity and any(len(port.endpoints) > 8 for port in state.ports)

    (shape,) = seen(monkeypatch, lacks_rules).differing["IPv4"]

    assert shape.node == "b"
    assert shape.is_smallest
    assert (shape.smallest[of.ENDPOINTS], shape.smallest[of.PORTS], shape.smallest[of.TYPE]) == ("9", "1", "ClusterIP")
    assert shape.smallest[of.AFFINITY] != of.NO_AFFINITY
    assert shape.differences[0].node == "b"
    assert shape.objects.service["spec"]["sessionAffinity"] == "ClientIP"


def test_a_difference_that_does_not_come_back_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored()

    def only_at_first(state: ServiceState) -> bool:
        return stored.made == len(ARRAY.rows) and state.has_affinity

    (shape,) = seen(monkeypatch, only_at_first, stored).differing["IPv4"]

    assert (shape.came_back, shape.is_smallest) == (False, False)
    assert shape.smallest == shape.row


def test_rows_that_a_cluster_refuses_are_left_out_of_the_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored(lambda service: "no external IPs" if service["spec"].get("externalIPs") else "")

    found = seen(monkeypatch, lambda _: False, stored)

    assert found.refused
    assert len(found.rows) + len(found.refused) == len(ARRAY.rows)
    assert found.coverage.pairs < found.coverage.feasible_pairs


def test_each_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    seen(monkeypatch, lambda state: state.has_affinity, on_progress=steps.append)

    assert [step.split()[0] for step in steps][:3] == ["create", "compare", "delete"]
    assert steps[-1].startswith("look for the smallest shape that differs on b")


def test_where_few_may_exist_they_are_made_in_batches_and_cover_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored()
    balanced = {number for number, row in enumerate(ARRAY.rows) if row[of.TYPE] in of.LOAD_BALANCERS}
    others = len(ARRAY.rows) - len(balanced)

    found = seen(monkeypatch, lambda _: False, stored, most=40)

    assert stored.batches == [40] * (others // 40) + [others % 40]
    assert (found.batches, found.limit, found.lacking) == (len(stored.batches), "few are free", "")
    assert len(found.rows) == len(found.compared["IPv4"].services) == others
    assert found.refused == dict.fromkeys(balanced, "no load balancers")
    assert found.coverage == ARRAY.coverage(without=tuple(balanced))
    assert set(found.compared["IPv4"].differences) == set(found.removed["IPv4"].differences) == {"a", "b"}


def test_a_fault_in_any_batch_has_its_smallest_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks_rules(state: ServiceState) -> bool:
        return state.has_affinity and any(len(port.endpoints) > 8 for port in state.ports)

    stored = Stored()
    (shape,) = seen(monkeypatch, lacks_rules, stored, most=10).differing["IPv4"]

    assert (shape.is_smallest, shape.smallest[of.ENDPOINTS]) == (True, "9")
    assert max(stored.batches) <= 10


def test_without_room_for_a_batch_nothing_is_made_and_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, lambda _: False, most=0)

    assert (found.rows, found.lacking) == ({}, "no address is free")


def test_a_range_that_becomes_full_keeps_what_was_compared_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored()
    stored.full_after = 40

    found = seen(monkeypatch, lambda state: state.has_affinity, stored, most=20)

    assert len(found.rows) == 40
    assert "range is full" in found.lacking
    assert found.coverage.pairs < found.coverage.feasible_pairs
    (shape,) = found.differing["IPv4"]
    assert (shape.smallest, shape.is_smallest) == (shape.row, False)
    assert stored.groups == []
