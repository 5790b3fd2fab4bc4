"""Many clients of the same Services."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import MANY_CLIENTS_SPREAD
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.verdicts.many_clients import (
    ClientRun,
    Memory,
    judge_each_keeps,
    judge_each_remembered,
    judge_independent,
)

if TYPE_CHECKING:
    from conftest import World
    from session_affinity.dataplane.model import ServiceState

PODS = ("webpod1", "webpod2", "webpod3")
NODES = ("control", "worker", "worker2")


def services(world: World, count: int = 30) -> list[ServiceState]:
    return [replace(world.service, name=f"s{n}", cluster_ips=(f"10.200.1.{n}",)) for n in range(count)]


def member(number: int, asked: list[ServiceState], chosen: list[str | None], rounds: int = 2) -> ClientRun:
    answers = tuple(
        Answer(Target(own.cluster_ips[0], 9000), pod, 200 if pod else 0, 40000, 1, 0.01, "" if pod else "timed out")
        for _ in range(rounds)
        for own, pod in zip(asked, chosen, strict=True)
    )
    return ClientRun(f"client-{number}", f"10.10.{number}.9", NODES[number % 3], Answers(answers))


def chosen(number: int, count: int = 30) -> list[str | None]:
    """Return choices that are even and unlike those of any other number below six."""
    order = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)][number]
    return [PODS[order[place % 3]] for place in range(count)]


def many_clients(world: World, size: int = 6) -> tuple[list[ClientRun], list[ServiceState]]:
    asked = services(world)
    return [member(number, asked, chosen(number)) for number in range(size)], asked


def moved(one: ClientRun) -> ClientRun:
    """Return a client whose last answer is another pod's."""
    *most, last = one.answers
    return replace(one, answers=Answers((*most, replace(last, endpoint="webpod1"))))


def test_clients_that_keep_and_choose_hold(world: World) -> None:
    members, asked = many_clients(world)

    assert judge_each_keeps(members, asked).ok
    assert judge_independent(members, asked, MANY_CLIENTS_SPREAD).ok
    assert "180 of 180 pairs of client and Service kept over 2 rounds" in judge_each_keeps(members, asked).headline


def test_a_client_that_moved_is_named_with_its_node(world: World) -> None:
    members, asked = many_clients(world)
    members[1] = moved(members[1])

    (finding,) = judge_each_keeps(members, asked).findings

    assert finding.where == "worker"
    assert finding.seen == "default/s29: webpod2, webpod1"


def test_a_client_without_an_answer_did_not_keep(world: World) -> None:
    asked = services(world)
    members = [member(0, asked, [None] * len(asked))]

    (finding,) = judge_each_keeps(members, asked).findings

    assert "default/s0: timed out, timed out" in finding.seen
    assert "and 25 more" in finding.seen


def test_two_clients_that_choose_alike_are_bound_together(world: World) -> None:
    members, asked = many_clients(world)
    members.append(member(7, asked, chosen(1)))

    (finding,) = judge_independent(members, asked, MANY_CLIENTS_SPREAD).findings

    assert finding.where == "worker"
    assert "client-1" in finding.what
    assert "client-7" in finding.what


def test_clients_that_avoid_an_endpoint_are_uneven(world: World) -> None:
    asked = services(world)
    members = [member(n, asked, [PODS[(place * (n + 1)) % 2] for place in range(30)]) for n in range(6)]

    findings = judge_independent(members, asked, MANY_CLIENTS_SPREAD).findings

    assert "webpod3: 0" in next(one.seen for one in findings if one.where == "all clients")


def affinity_entries(members: list[ClientRun], asked: list[ServiceState]) -> dict[str, Memory]:
    return {
        node: {(own.key, one.address): (str(one.chosen(own)),) for one in members if one.node == node for own in asked}
        for node in NODES
    }


def test_clients_remembered_on_their_nodes_hold(world: World) -> None:
    members, asked = many_clients(world)

    assert judge_each_remembered(members, asked, affinity_entries(members, asked)).ok


@pytest.mark.parametrize(
    ("node", "pods", "told"),
    [
        pytest.param("worker", (), "not remembered; it was answered by webpod1", id="forgotten"),
        pytest.param("worker", ("webpod2",), "bound to webpod2", id="another endpoint"),
        pytest.param("worker", ("webpod1", "webpod2"), "bound to webpod1, webpod2", id="two endpoints"),
        pytest.param("control", ("webpod1",), "bound to webpod1", id="another node too"),
    ],
)
def test_clients_remembered_otherwise_do_not(world: World, node: str, pods: tuple[str, ...], told: str) -> None:
    members, asked = many_clients(world)
    memory = affinity_entries(members, asked)
    memory[node][asked[0].key, members[1].address] = pods

    (finding,) = judge_each_remembered(members, asked, memory).findings

    assert finding.where == node
    assert told in finding.seen
