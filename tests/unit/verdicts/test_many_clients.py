"""Many clients of the same Services."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.experiment import MANY_CLIENTS_SPREAD
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.client import ClientId
from session_affinity.verdicts.many_clients import (
    BoundPods,
    ClientRun,
    judge_client_entries,
    judge_endpoints_kept,
    judge_independent_choices,
)
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState
    from tests.unit.verdicts.conftest import World

PODS = ("webpod1", "webpod2", "webpod3")
NODES = ("control", "worker", "worker2")
EXPECTED = "expected entry 10.10.1.9 -> webpod1"


def services(world: World, count: int = 30) -> list[ServiceState]:
    return [replace(world.service, name=f"s{n}", cluster_ips=(f"10.200.1.{n}",)) for n in range(count)]


def run(number: int, requested: list[ServiceState], chosen: list[str | None], rounds: int = 2) -> ClientRun:
    answers = tuple(
        Answer(Target(service.cluster_ips[0], 9000), pod, 200 if pod else 0, 40000, 1, 0.01, "" if pod else "timed out")
        for _ in range(rounds)
        for service, pod in zip(requested, chosen, strict=True)
    )
    return ClientRun(ClientId(f"client-{number}", f"10.10.{number}.9", NODES[number % 3]), Answers(answers))


def chosen(number: int, count: int = 30) -> list[str | None]:
    """Return choices that are even and unlike those of any other number below six."""
    order = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)][number]
    return [PODS[order[place % 3]] for place in range(count)]


def many_clients(world: World, size: int = 6) -> tuple[list[ClientRun], list[ServiceState]]:
    requested = services(world)
    return [run(number, requested, chosen(number)) for number in range(size)], requested


def moved(run: ClientRun) -> ClientRun:
    """Return a client whose last answer is another pod's."""
    *most, last = run.answers
    return replace(run, answers=Answers((*most, replace(last, endpoint="webpod1"))))


def test_clients_that_keep_and_choose_hold(world: World) -> None:
    runs, requested = many_clients(world)

    assert judge_endpoints_kept(runs, requested).ok
    assert judge_independent_choices(runs, requested, MANY_CLIENTS_SPREAD).ok
    assert "180 of 180 pairs of client and Service kept over 2 rounds" in judge_endpoints_kept(runs, requested).headline


def test_a_client_that_moved_is_named_with_its_node(world: World) -> None:
    runs, requested = many_clients(world)
    runs[1] = moved(runs[1])

    (finding,) = judge_endpoints_kept(runs, requested).findings

    assert finding.where == "worker"
    assert finding.seen == "default/s29: webpod2, webpod1"


def test_a_client_without_an_answer_did_not_keep(world: World) -> None:
    requested = services(world)
    runs = [run(0, requested, [None] * len(requested))]

    (finding,) = judge_endpoints_kept(runs, requested).findings

    assert "default/s0: timed out, timed out" in finding.seen
    assert "and 25 more" in finding.seen


def test_two_clients_that_choose_alike_are_bound_together(world: World) -> None:
    runs, requested = many_clients(world)
    runs.append(run(7, requested, chosen(1)))

    (finding,) = judge_independent_choices(runs, requested, MANY_CLIENTS_SPREAD).findings

    assert finding.where == "worker"
    assert "client-1" in finding.what
    assert "client-7" in finding.what


def test_clients_that_avoid_an_endpoint_are_uneven(world: World) -> None:
    requested = services(world)
    runs = [run(n, requested, [PODS[(place * (n + 1)) % 2] for place in range(30)]) for n in range(6)]

    findings = judge_independent_choices(runs, requested, MANY_CLIENTS_SPREAD).findings

    assert "webpod3: 0" in next(finding.seen for finding in findings if finding.where == "all clients")


def test_a_client_that_was_never_answered_is_named(world: World) -> None:
    runs, requested = many_clients(world)
    runs.append(run(7, requested, [None] * len(requested)))

    findings = judge_independent_choices(runs, requested, MANY_CLIENTS_SPREAD).findings

    assert [finding.what for finding in findings] == ["client-7 (10.10.7.9 on worker)"]


def test_choices_of_which_too_few_were_answered_do_not_hold(world: World) -> None:
    requested = services(world)
    runs = [run(number, requested, ["webpod1", *[None] * 29]) for number in range(2)]

    assert "2 of them" in explained(judge_independent_choices(runs, requested, MANY_CLIENTS_SPREAD))


def affinity_entries(runs: list[ClientRun], requested: list[ServiceState]) -> dict[str, BoundPods]:
    return {
        node: {
            (service.key, run.client.address): (str(run.choice(service)),)
            for run in runs
            if run.client.node == node
            for service in requested
        }
        for node in NODES
    }


def test_entries_on_the_clients_nodes_hold(world: World) -> None:
    runs, requested = many_clients(world)

    assert judge_client_entries(runs, requested, affinity_entries(runs, requested)).ok


@pytest.mark.parametrize(
    ("node", "pods", "text"),
    [
        pytest.param("worker", (), f"no entry; {EXPECTED} (the pod that answered client-1)", id="none"),
        pytest.param("worker", ("webpod2",), f"entry 10.10.1.9 -> webpod2; {EXPECTED}", id="another endpoint"),
        pytest.param("worker", ("webpod1", "webpod2"), f"entry 10.10.1.9 -> webpod2; {EXPECTED}", id="two endpoints"),
        pytest.param("control", ("webpod1",), "(10.10.1.9 on worker) is on another node", id="another node too"),
    ],
)
def test_other_entries_do_not_hold(world: World, node: str, pods: tuple[str, ...], text: str) -> None:
    runs, requested = many_clients(world)
    entries = affinity_entries(runs, requested)
    entries[node][requested[0].key, runs[1].client.address] = pods

    (finding,) = judge_client_entries(runs, requested, entries).findings

    assert finding.where == node
    assert text in finding.seen
