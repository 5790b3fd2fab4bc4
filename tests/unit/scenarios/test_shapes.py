"""Services of an array, compared, deleted and made smaller: with nodes that are wrong for some shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.scenarios import shapes as scenario
from session_affinity.scenarios.comparison import Comparison
from session_affinity.scenarios.shapes import ShapeMaker, ShapesSeen, observe
from session_affinity.shapes import arrays
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.objects import Site, SiteNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from session_affinity.dataplane.model import Family, ServiceState

Json = dict[str, Any]
SITE = Site((SiteNode("a", "east", ("172.30.0.2",)), SiteNode("b", "west", ("172.30.0.3",))))
ARRAY = arrays.array(arrays.COMPACT)


class Stored:
    """Keeps what was made, and refuses the groups of some Services."""

    def __init__(self, refuses: Callable[[Json], str] = lambda _: "") -> None:
        self.refuses = refuses
        self.groups: list[Sequence[Json]] = []
        self.made = 0

    def create_accepted(self, groups: Sequence[Sequence[Json]]) -> dict[int, str]:
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
    return observe(testbeds, ShapeMaker(fake, SITE, (1, 37)), ARRAY, on_progress)


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
