"""Stories at the same time, on a cluster that follows at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.services import ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.deadlines import DEFAULTS
from session_affinity.scenarios.endpoint_changes import run as runs
from session_affinity.scenarios.endpoint_changes.scenario import EndpointChange, Scenario, ScenarioPlan
from session_affinity.testbed.testbed import SyncResult
from session_affinity.traffic.answers import Answer, Answers, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

pytestmark = pytest.mark.unit


class World:
    """A client's clock that advances with each request, and Services that have the endpoints they should at once."""

    deadlines = DEFAULTS
    reads_rules = False

    def __init__(self) -> None:
        self.now = 100.0
        self.known: dict[str, ServiceState] = {}
        self.deleted: list[str] = []
        self.streams: list[FakeStream] = []
        self.services = self.client = self
        self.node = "control-plane"

    def create_all(self, wishes: Sequence[ServiceRequest]) -> list[ServiceState]:
        made = []
        for number, wish in enumerate(wishes, 1):
            state = ServiceState("default", wish.purpose, (f"10.200.1.{number}",), CLIENT_IP, 30, ())
            made.append(self._with(state, ("a", "b")))
        return made

    def await_endpoints(self, wanted: Mapping[str, Collection[str]]) -> dict[str, ServiceState]:
        return {name: self._with(self.known[name], pods) for name, pods in wanted.items()}

    def wait_for_sync(self, *services: ServiceState, since: float) -> SyncResult:
        del since
        return SyncResult(services, {}, {}, {}, {}, 0.5)

    def delete(self, service: ServiceState) -> None:
        self.deleted.append(service.name)

    def uptime(self) -> float:
        self.now += 0.01
        return self.now

    def stream(self, target: Target) -> FakeStream:
        self.streams.append(FakeStream(self, target))
        return self.streams[-1]

    def request(self, target: Target, count: int = 1) -> Answers:
        return Answers(tuple(self.answer(target) for _ in range(count)))

    def answer(self, target: Target) -> Answer:
        service = next(one for one in self.known.values() if target.address in one.cluster_ips)
        before, self.now = self.now, self.now + 0.05
        endpoint = next((one.pod for one in service.endpoints), None)
        error = "" if endpoint else "curl 7: refused"
        return Answer(target, endpoint, 200, 4000, 1, 0.001, error, round(before, 2), round(self.now, 2))

    def _with(self, state: ServiceState, pods: Collection[str]) -> ServiceState:
        endpoints = tuple(Endpoint(f"10.10.1.{number}", 80, pod, "worker") for number, pod in enumerate(pods, 1))
        self.known[state.name] = replace(state, ports=(ServicePort("web", "TCP", 9000, endpoints),))
        return self.known[state.name]


class FakeStream:
    """Asks once each time that it is looked at."""

    def __init__(self, world: World, target: Target) -> None:
        self.world = world
        self.target = target
        self.seen: list[Answer] = []
        self.over = False

    def wait_for(self, enough: Callable[[Answers], bool], seconds: float) -> Answers:
        assert seconds > 0
        while not enough(Answers(tuple(self.seen))):
            self.seen.append(self.world.answer(self.target))
        return Answers(tuple(self.seen))

    def stop(self) -> Answers:
        self.over = True
        return Answers(tuple(self.seen))

    def abandon(self) -> None:
        self.over = True


def to(*pods: str) -> Callable[[ServiceState, str], Collection[str]]:
    return lambda *_: pods


def run(world: World, **plans: ScenarioPlan) -> dict[Scenario, Any]:
    given: Any = world
    return {**runs.run({Scenario(name): plan for name, plan in plans.items()}, given)}


def test_each_stage_has_the_answers_to_requests_that_were_sent_when_the_node_had_followed() -> None:
    changes = (EndpointChange("less", to("b")), EndpointChange("more", to("b", "c")))
    world = World()

    course = run(world, scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), changes))[Scenario.SCALED]

    assert [stage.change for stage in course.stages] == ["made", "less", "more"]
    assert [stage.answers.only_endpoint for stage in course.stages] == ["a", "b", "b"]
    assert all(len(stage.answers) >= runs.ANSWERS - 1 for stage in course.stages)
    assert world.deleted == ["scaled"]
    assert all(stream.over for stream in world.streams)


def test_a_change_is_given_who_answered_last_and_the_service_as_it_is() -> None:
    told: list[tuple[int, str]] = []

    def act(service: ServiceState, answered: str) -> Collection[str]:
        told.append((len(service.endpoints), answered))
        return ("c",)

    run(
        World(),
        scaled=ScenarioPlan(
            ServiceRequest("scaled", CLIENT_IP), ("a", "b"), (EndpointChange("x", act), EndpointChange("y", act))
        ),
    )

    assert told == [(2, "a"), (1, "c")]


def test_a_service_without_endpoints_is_asked_once_and_followed_again_after_that() -> None:
    changes = (EndpointChange("none", to(), silent=True), EndpointChange("some", to("b")))
    world = World()

    course = run(world, scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), changes))[Scenario.SCALED]

    assert [len(stage.answers.failures) for stage in course.stages] == [0, 1, 0]
    assert course.stages[1].usable == ()
    assert course.stages[2].answers.only_endpoint == "b"
    assert len(world.streams) == 2


def test_a_client_is_silent_while_endpoints_go_without_an_end_and_asks_again_when_its_node_has_followed() -> None:
    changes = (EndpointChange("deleted", to("b"), silent=True), EndpointChange("made again", to("a", "b")))
    world = World()

    course = run(world, deleted=ScenarioPlan(ServiceRequest("deleted", CLIENT_IP), ("a",), changes))[Scenario.DELETED]

    assert len(course.stages[1].during) == 0
    assert course.stages[1].answers.only_endpoint == "b"
    assert len(world.streams) == 2


def test_a_service_that_is_deleted_calls_for_nothing_and_is_not_asked() -> None:
    changes = (EndpointChange("deleted", to(), deletes=True), EndpointChange("again", to("a")))

    plan = ScenarioPlan(ServiceRequest("recreated", CLIENT_IP), ("a", "b"), changes, followed=False)
    course = run(World(), recreated=plan)[Scenario.RECREATED]

    assert (course.stages[1].service.cluster_ips, course.stages[1].service.endpoints) == ((), ())
    assert [len(stage.answers) for stage in course.stages] == [runs.ANSWERS, 0, runs.ANSWERS]


def test_with_a_local_policy_only_pods_of_the_clients_node_may_answer() -> None:
    world = World()
    service = world.create_all([ServiceRequest("local")])[0]
    given: Any = world
    local = runs._Run({}, given)._usable(replace(service, internal_policy="Local"))

    assert local == ()
    assert runs._Run({}, given)._usable(service) == ("a", "b")


def test_streams_end_when_something_goes_wrong() -> None:
    def broken(service: ServiceState, answered: str) -> Collection[str]:
        raise RuntimeError(service.name, answered)

    world = World()

    with pytest.raises(RuntimeError):
        run(world, scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), (EndpointChange("x", broken),)))
    assert [stream.over for stream in world.streams] == [True]
