"""Answers of Services of many shapes, judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.scenarios.answered_shapes import AnsweredShape, AnsweredShapes, expected_pods
from session_affinity.shapes.dimensions import DEFAULTS
from session_affinity.verdicts.answered_shapes import judge_answered_shapes
from tests.unit.verdicts.conftest import CLIENT_ID, explained

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.verdicts.verdict import Verdict
    from tests.unit.verdicts.conftest import World

A, B, C = "webpod1", "webpod2", "webpod3"


def shape(
    world: World, *answers: str | None, expected: tuple[str, ...] = (A, B, C), stored: tuple[str, ...] | None = None
) -> AnsweredShape:
    """Return a Service with these answers, and entries for the stored pods; None where they were not read."""
    entries = None
    if stored is not None:
        entries = tuple(
            AffinityEntry("KUBE-SEP-X", endpoint, CLIENT_ID.address)
            for endpoint in world.service.endpoints
            if endpoint.pod in stored
        )
    return AnsweredShape(DEFAULTS, world.service, expected, world.answers(*answers), entries)


def plain(service: ServiceState) -> ServiceState:
    return replace(service, session_affinity="None", timeout_seconds=None)


def judge(*shapes: AnsweredShape) -> Verdict:
    return judge_answered_shapes(AnsweredShapes(CLIENT_ID, shapes))


def test_one_endpoint_that_is_remembered_holds(world: World) -> None:
    verdict = judge(shape(world, A, A, A, stored=(A,)))

    assert verdict.ok
    assert verdict.headline.startswith("1 Services answered by endpoints that they may use, 1 of them by one, 1 with")


def test_another_endpoint_under_client_ip_is_a_contradiction(world: World) -> None:
    assert "all answers from one endpoint" in explained(judge(shape(world, A, B, A)))


def test_an_endpoint_that_may_not_be_used_is_a_contradiction(world: World) -> None:
    assert "answers from webpod2 or webpod3 only" in explained(judge(shape(world, A, A, expected=(B, C))))


def test_a_lost_request_is_a_contradiction(world: World) -> None:
    assert not judge(shape(world, A, None)).ok


def test_an_answer_without_a_usable_endpoint_is_a_contradiction(world: World) -> None:
    answered = judge(shape(world, A, expected=()), shape(world, A))
    refused = judge(shape(world, None, expected=()), shape(world, A))

    assert "no answer: it has no endpoint" in explained(answered)
    assert refused.ok
    assert "1 without one not answered" in refused.headline


def test_the_entry_is_the_answering_endpoints_alone(world: World) -> None:
    for stored in ((B,), (A, B), ()):
        assert "an affinity entry for webpod1 alone" in explained(judge(shape(world, A, A, stored=stored)))


def test_a_service_without_affinity_has_no_entry_and_any_endpoint(world: World) -> None:
    without = replace(shape(world, A, B, stored=()), service=plain(world.service))
    with_entry = replace(shape(world, A, B, stored=(A,)), service=plain(world.service))

    assert judge(without).ok
    assert "no affinity entry" in explained(judge(with_entry))


def test_pods_that_may_answer_follow_from_the_policy(world: World) -> None:
    node = world.service.endpoints[1].node

    assert expected_pods(world.service, node, "") == (A, B, C)
    assert expected_pods(replace(world.service, internal_policy="Local"), node, "") == (B,)
    assert expected_pods(replace(world.service, internal_policy="Local"), "elsewhere", "") == ()


def test_a_contradiction_counts_although_there_was_no_room_for_the_others(world: World) -> None:
    seen = AnsweredShapes(CLIENT_ID, (shape(world, A, B, A),), lacking="range is full")

    assert not judge_answered_shapes(seen).ok
