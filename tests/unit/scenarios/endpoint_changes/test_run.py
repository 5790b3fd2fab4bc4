"""Scenarios at the same time, on a cluster whose nodes follow at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.services import ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.deadlines import DEFAULTS
from session_affinity.scenarios.endpoint_changes import run as runs
from session_affinity.scenarios.endpoint_changes.scenario import EndpointChange, Scenario, ScenarioPlan, ScenarioStep
from session_affinity.testbed.testbed import SyncResult
from session_affinity.traffic.answers import Answer, Answers, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

pytestmark = pytest.mark.unit
FIRST, SECOND = ScenarioStep.SCALED_TO_5, ScenarioStep.SCALED_TO_0


class World:
    """A client's clock that advances with each request, and Services that have their endpoints at once."""

    deadlines = DEFAULTS
    reads_rules = False

    def __init__(self) -> None:
        self.now = 100.0
        self.stored: dict[str, ServiceState] = {}
        self.deleted: list[str] = []
        self.waits: list[tuple[str, ...]] = []
        self.commands = 0
        self.streams: list[FakeStream] = []
        self.services = self.client = self
        self.node = "control-plane"

    def create_all(self, requests: Sequence[ServiceRequest]) -> list[ServiceState]:
        made = []
        for number, request in enumerate(requests, 1):
            state = ServiceState("default", request.purpose, (f"10.200.1.{number}",), CLIENT_IP, 30, ())
            made.append(self._with(state, ("a", "b")))
        return made

    def create(self, request: ServiceRequest) -> ServiceState:
        return self._with(ServiceState("default", request.purpose, ("10.200.2.1",), CLIENT_IP, 30, ()), ("a",))

    def wait_for_endpoints(self, endpoints: Mapping[str, Collection[str]]) -> dict[str, ServiceState]:
        return {name: self._with(self.stored[name], pods) for name, pods in endpoints.items()}

    def wait_for_sync(self, *services: ServiceState, since: float, with_entries: bool) -> SyncResult:
        assert with_entries, f"entries are judged, {since} s"
        self.waits.append(tuple(service.name for service in services))
        return SyncResult(services, {}, {}, {}, {}, 0.5)

    def delete(self, service: ServiceState) -> None:
        self.deleted.append(service.name)

    def uptime(self) -> float:
        self.now += 0.01
        return self.now

    def stream(self, target: Target) -> FakeStream:
        self.streams.append(FakeStream(self, target))
        return self.streams[-1]

    def flows(self, targets: Sequence[Target]) -> FakeFlows:
        self.flowing = FakeFlows(self, targets)
        return self.flowing

    def request(self, *targets: Target, count: int = 1) -> Answers:
        self.commands += 1
        return Answers(tuple(self.answer(target) for target in targets for _ in range(count)))

    def answer(self, target: Target) -> Answer:
        service = next(state for state in self.stored.values() if target.address in state.cluster_ips)
        before, self.now = self.now, self.now + 0.05
        endpoint = next((endpoint.pod for endpoint in service.endpoints), None)
        error = "" if endpoint else "curl 7: refused"
        return Answer(target, endpoint, 200, 4000, 1, 0.001, error, round(before, 2), round(self.now, 2))

    def _with(self, state: ServiceState, pods: Collection[str]) -> ServiceState:
        endpoints = tuple(Endpoint(f"10.10.1.{number}", 80, pod, "worker") for number, pod in enumerate(pods, 1))
        self.stored[state.name] = replace(state, ports=(ServicePort("web", "TCP", 9000, endpoints),))
        return self.stored[state.name]


class FakeFlows:
    """Flows that stay with the endpoint of their first datagram as long as it is one."""

    def __init__(self, world: World, targets: Sequence[Target]) -> None:
        self.world = world
        self.answers: dict[Target, Answers] = {target: Answers(()) for target in targets}
        self.abandoned = False
        self.targets = tuple(targets)

    def wait_for(self, enough: Callable[[Mapping[Target, Answers]], bool], _: float) -> dict[Target, Answers]:
        while not enough(self.answers):
            for target in self.answers:
                self.answers[target] += Answers((self.world.answer(target),))
        return self.answers

    def stop(self) -> dict[Target, Answers]:
        return self.answers

    def abandon(self) -> None:
        self.abandoned = True


class FakeStream:
    """Sends a request each time that its answers are read."""

    def __init__(self, world: World, target: Target) -> None:
        self.world = world
        self.target = target
        self.seen: list[Answer] = []
        self.over = False
        self.requests_when_asked_to_end = 0

    def wait_for(self, enough: Callable[[Answers], bool], seconds: float) -> Answers:
        assert seconds > 0
        while not enough(Answers(tuple(self.seen))):
            self.seen.append(self.world.answer(self.target))
        return Answers(tuple(self.seen))

    def end(self) -> None:
        self.requests_when_asked_to_end = self.requests_when_asked_to_end or len(self.seen)

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


def test_each_step_has_the_answers_to_requests_sent_when_the_node_had_followed() -> None:
    changes = (EndpointChange(FIRST, to("b")), EndpointChange(SECOND, to("b", "c")))
    world = World()

    result = run(world, scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), changes))[Scenario.SCALED]

    assert [step.step for step in result.steps] == [ScenarioStep.MADE, FIRST, SECOND]
    assert [step.answers.only_endpoint for step in result.steps] == ["a", "b", "b"]
    assert all(len(step.answers) >= runs.ANSWERS - 1 for step in result.steps)
    assert world.deleted == ["scaled"]
    assert all(stream.over for stream in world.streams)


def test_a_stream_ends_when_its_service_has_no_change_left() -> None:
    one, two = EndpointChange(FIRST, to("b")), EndpointChange(SECOND, to("b", "c"))
    world = World()
    request = ServiceRequest("scaled", CLIENT_IP)
    plans = {
        "scaled": ScenarioPlan(request, ("a", "b"), (one,)),
        "rolled": ScenarioPlan(replace(request, purpose="rolled"), ("a", "b"), (one, two)),
    }

    results = run(world, **plans)

    first, second = sorted(world.streams, key=lambda stream: stream.target.address)
    assert first.requests_when_asked_to_end == len(first.seen) < second.requests_when_asked_to_end == len(second.seen)
    assert [step.answers.only_endpoint for step in results[Scenario.SCALED].steps] == ["a", "b"]
    assert len(results[Scenario.ROLLED].steps[-1].answers) >= runs.ANSWERS


def test_a_change_is_given_the_pod_that_answered_last_and_the_service_as_it_is() -> None:
    calls: list[tuple[int, str]] = []

    def act(service: ServiceState, answered_by: str) -> Collection[str]:
        calls.append((len(service.endpoints), answered_by))
        return ("c",)

    run(
        World(),
        scaled=ScenarioPlan(
            ServiceRequest("scaled", CLIENT_IP), ("a", "b"), (EndpointChange(FIRST, act), EndpointChange(SECOND, act))
        ),
    )

    assert calls == [(2, "a"), (1, "c")]


def test_a_change_that_follows_from_another_is_made_after_it() -> None:
    made: list[str] = []

    def act(service: ServiceState, answered_by: str) -> Collection[str]:
        made.append(service.name)
        return (answered_by,)

    request = ServiceRequest("local", CLIENT_IP)
    run(
        World(),
        local=ScenarioPlan(request, ("a", "b"), (EndpointChange(FIRST, act, follows=True),)),
        drained=ScenarioPlan(replace(request, purpose="drained"), ("a", "b"), (EndpointChange(FIRST, act),)),
    )

    assert made == ["drained", "local"]


def test_a_service_without_endpoints_gets_one_request_and_a_stream_again_after_that() -> None:
    changes = (EndpointChange(FIRST, to(), silent=True), EndpointChange(SECOND, to("b")))
    world = World()

    result = run(world, scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), changes))[Scenario.SCALED]

    assert [len(step.answers.failures) for step in result.steps] == [0, 1, 0]
    assert result.steps[1].usable == ()
    assert result.steps[2].answers.only_endpoint == "b"
    assert len(world.streams) == 2


def test_a_client_pauses_while_endpoints_vanish_and_goes_on_when_its_node_has_followed() -> None:
    changes = (EndpointChange(FIRST, to("b"), silent=True), EndpointChange(SECOND, to("a", "b")))
    world = World()

    result = run(world, deleted=ScenarioPlan(ServiceRequest("deleted", CLIENT_IP), ("a",), changes))[Scenario.DELETED]

    assert len(result.steps[1].during) == 0
    assert result.steps[1].answers.only_endpoint == "b"
    assert len(world.streams) == 2


def test_a_deleted_service_has_no_endpoints_and_gets_no_requests() -> None:
    changes = (EndpointChange(FIRST, to(), deletes=True), EndpointChange(SECOND, to("a")))

    plan = ScenarioPlan(ServiceRequest("recreated", CLIENT_IP), ("a", "b"), changes, streams=False)
    result = run(World(), recreated=plan)[Scenario.RECREATED]

    assert (result.steps[1].service.cluster_ips, result.steps[1].service.endpoints) == ((), ())
    assert [len(step.answers) for step in result.steps] == [runs.ANSWERS, 0, runs.ANSWERS]


def test_services_without_streams_are_asked_in_one_command_and_have_their_own_answers() -> None:
    world = World()
    request = ServiceRequest("port", CLIENT_IP)
    plans = {
        "port": ScenarioPlan(request, ("a", "b"), (EndpointChange(FIRST, to("b")),), streams=False),
        "typed": ScenarioPlan(replace(request, purpose="typed"), ("a",), (EndpointChange(FIRST, to()),), streams=False),
    }

    results = run(world, **plans)

    port, typed = (results[scenario].steps[-1].answers for scenario in (Scenario.PORT, Scenario.TYPED))
    assert (port.only_endpoint, len(port), {answer.target.address for answer in port}) == (
        *("b", runs.ANSWERS),
        {"10.200.1.1"},
    )
    assert (len(typed.failures), {answer.target.address for answer in typed}) == (1, {"10.200.1.2"})
    # Both at first; then the one that has endpoints, and the one that has none.
    assert world.commands == 3


def test_with_a_local_policy_only_pods_of_the_clients_node_may_answer() -> None:
    world = World()
    service = world.create_all([ServiceRequest("local")])[0]
    given: Any = world
    local = runs._Run({}, given)._usable(replace(service, internal_policy="Local"))

    assert local == ()
    assert runs._Run({}, given)._usable(service) == ("a", "b")


def test_streams_end_on_an_error() -> None:
    def broken(service: ServiceState, answered_by: str) -> Collection[str]:
        raise RuntimeError(service.name, answered_by)

    world = World()

    with pytest.raises(RuntimeError):
        run(
            world,
            scaled=ScenarioPlan(ServiceRequest("scaled", CLIENT_IP), ("a", "b"), (EndpointChange(FIRST, broken),)),
        )
    assert [stream.over for stream in world.streams] == [True]


def test_flows_have_the_answers_of_each_step_until_the_run_deletes_the_services() -> None:
    world: Any = World()
    changes = (EndpointChange(FIRST, to("b")), EndpointChange(SECOND, to()))
    plan = ScenarioPlan(ServiceRequest("flowing"), ("a", "b"), changes, streams=False, sends_requests=False, flows=True)

    result = runs.run({Scenario.FLOWING: plan}, world)[Scenario.FLOWING]

    (first,), (second,), (third,) = (step.flows for step in result.steps)
    assert set(first.by_endpoint) == {"a"}
    assert second.answers[-1].endpoint == "b"
    assert third.answers[-1].endpoint is None
    assert len(third) < len(world.flowing.stop()[world.flowing.targets[0]]) - len(first) - len(second)
    assert world.flowing.abandoned


def test_flows_of_a_deleted_service_go_on_until_the_nodes_have_followed() -> None:
    world: Any = World()
    changes = (EndpointChange(FIRST, to(), deletes=True),)
    plan = ScenarioPlan(ServiceRequest("flowing"), ("a", "b"), changes, streams=False, sends_requests=False, flows=True)

    result = runs.run({Scenario.FLOWING: plan}, world)[Scenario.FLOWING]

    (first,), (second,) = (step.flows for step in result.steps)
    assert len(first) + len(second) == len(world.flowing.stop()[world.flowing.targets[0]])


def test_nodes_have_followed_a_change_that_is_undone_when_they_have_a_service_created_afterwards() -> None:
    world = World()
    changes = (EndpointChange(FIRST, to("a", "b"), is_undone=True), EndpointChange(SECOND, to("a")))
    plan = ScenarioPlan(ServiceRequest("flapping", CLIENT_IP), ("a", "b"), changes, streams=False)

    results = run(world, flapping=plan)

    assert world.waits == [("flapping",), ("flapping", "sentinel"), ("flapping",)]
    assert world.deleted == ["sentinel", "flapping"]
    assert [step.service.name for step in results[Scenario.FLAPPING].steps] == ["flapping"] * 3
