"""Services of every shape, judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.scenarios.comparison import Comparison
from session_affinity.scenarios.shapes import DifferingShape, ShapesSeen
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.covering import Coverage
from session_affinity.shapes.dimensions import DEFAULTS
from session_affinity.shapes.objects import Site, SiteNode, objects
from session_affinity.verdicts.shapes import judge_shapes
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

GOOD, BAD = "myk8s-worker", "myk8s-worker2"
SMALLEST = {**DEFAULTS, of.ENDPOINTS: "9", of.AFFINITY: "ClientIP"}
ROW = {**SMALLEST, of.TYPE: "LoadBalancer", of.PROTOCOL: "SCTP"}
DIFFERENCE = Difference(BAD, "KUBE-SVC-X", 9, Aspect.AFFINITY_PRESENCE, "an rcheck rule", "none", "Service work/x")


def seen(
    world: World,
    *differences: Difference,
    leftovers: tuple[Difference, ...] = (),
    at_end: tuple[Difference, ...] = (),
    differing: tuple[DifferingShape, ...] = (),
    refused: dict[int, str] | None = None,
) -> ShapesSeen:
    compared = Comparison(
        (world.service,),
        {GOOD: {}, BAD: {world.service: differences} if differences else {}},
        {GOOD: (), BAD: leftovers},
        {GOOD: 1.0, BAD: 2.5},
    )
    removed = Comparison((), {GOOD: {}, BAD: {}}, {GOOD: (), BAD: at_end}, {})
    return ShapesSeen(
        "compact",
        {world.service.name: ROW},
        refused or {},
        Coverage(10, 11, 3, 3),
        {"IPv4": compared},
        {"IPv4": removed},
        {"IPv4": differing},
        2.0,
        5,
    )


def shape(*, is_smallest: bool = True, came_back: bool = True) -> DifferingShape:
    made = objects(SMALLEST, 0, Site((SiteNode("a", "", ("172.30.0.2",)),)), "run")
    return DifferingShape(BAD, ROW, SMALLEST, made, (DIFFERENCE,), 31, is_smallest, came_back)


def test_equal_nodes_hold_with_what_was_covered_and_how_long_it_took(world: World) -> None:
    verdict = judge_shapes(seen(world), "IPv4")

    assert verdict.ok
    assert "1 Services of the compact array, 10 of 11 feasible pairs, 3 of 3 triples, as computed on 2 nodes" in (
        verdict.headline
    )
    assert "5 objects made in 2.0 s, programmed 2.5 s later" in verdict.headline


def test_batches_are_said(world: World) -> None:
    assert "5 objects made in 4 batches in 2.0 s" in judge_shapes(replace(seen(world), batches=4), "IPv4").headline


def test_what_differs_is_violated_although_there_was_no_room_for_the_others(world: World) -> None:
    verdict = judge_shapes(replace(seen(world, DIFFERENCE), lacking="range is full"), "IPv4")

    assert not verdict.ok
    assert "an rcheck rule" in explained(verdict)


def test_what_the_cluster_refused_is_said(world: World) -> None:
    assert "1 refused by the cluster" in judge_shapes(seen(world, refused={4: "no"}), "IPv4").headline


def test_a_difference_names_node_rule_and_the_smallest_shape_as_yaml(world: World) -> None:
    text = explained(judge_shapes(seen(world, DIFFERENCE, differing=(shape(),)), "IPv4"))

    assert f"does not hold on {BAD}: 1 of 1 Services differ on {BAD}; KUBE-SVC-X rule 9" in text
    assert "the smallest shape that differs, of 31 tried: affinity ClientIP, endpoints 9" in text
    assert "it was found by a Service with affinity ClientIP, protocol SCTP, endpoints 9, type LoadBalancer" in text
    assert "kind: EndpointSlice" in text
    assert f"{GOOD}:" not in text


def test_a_difference_of_the_sentinel_is_one_of_the_node(world: World) -> None:
    sentinel = replace(world.service, name="affinity-sentinel-x")
    shapes = seen(world, DIFFERENCE)
    compared = shapes.compared["IPv4"]
    both = {sentinel: (DIFFERENCE,), world.service: (DIFFERENCE,)}

    verdict = judge_shapes(
        replace(shapes, compared={"IPv4": replace(compared, differences={GOOD: {}, BAD: both})}), "IPv4"
    )

    assert not verdict.ok
    assert [finding.where for finding in verdict.findings] == [BAD, BAD]


def test_a_difference_that_did_not_come_back_is_one_all_the_same(world: World) -> None:
    gone = shape(came_back=False, is_smallest=False)

    verdict = judge_shapes(seen(world, DIFFERENCE, differing=(gone,)), "IPv4")

    assert not verdict.ok
    assert "did not come back" in verdict.headline


def test_a_shape_that_may_not_be_the_smallest_is_not_called_so(world: World) -> None:
    verdict = judge_shapes(seen(world, DIFFERENCE, differing=(shape(is_smallest=False),)), "IPv4")

    assert "a small shape that differs, of 31 tried" in verdict.headline


def test_leftovers_are_contradictions(world: World) -> None:
    for verdict in (
        judge_shapes(seen(world, leftovers=(DIFFERENCE,)), "IPv4"),
        judge_shapes(seen(world, at_end=(DIFFERENCE,)), "IPv4"),
    ):
        assert [finding.where for finding in verdict.findings] == [BAD]
        assert verdict.headline.startswith("leftovers; KUBE-SVC-X")
