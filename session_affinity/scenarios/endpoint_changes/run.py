"""Runs all scenarios at the same time, in rounds: one change per Service, one wait for the nodes, then the requests.

So all rounds take no longer than one scenario would. Services share nothing but pods, and a change of a pod itself
happens in one scenario, or in those that are about it.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.cluster_objects.services import ServiceRequest
from session_affinity.dataplane.topology import local_endpoints
from session_affinity.nodes.by_node import ByNode
from session_affinity.scenarios.endpoint_changes.result import NO_ANSWERS, ScenarioResult, StepResult
from session_affinity.scenarios.endpoint_changes.scenario import ScenarioStep
from session_affinity.traffic.answers import Answers, target, targets
from session_affinity.traffic.stream import since

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.scenarios.endpoint_changes.scenario import EndpointChange, Scenario, ScenarioPlan
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.answers import Answer, Target
    from session_affinity.traffic.flows import Flows
    from session_affinity.traffic.stream import Stream

ANSWERS: Final = 10
"""Requests that show whether a client stays with an endpoint."""
AT_ONCE: Final = 4
"""Services that are changed, or deleted, at the same time."""
FAILURES: Final = 3
"""Failed requests that show that it does not: each may take seconds."""


@dataclass
class _RunningScenario:
    """A scenario under way.

    ``streamed`` are the answers of streams that have ended. ``moments`` are, for each step, when its change began and
    when the client's node had processed it, in seconds of the client's uptime. ``answered_by`` is the pod that answered
    last, to the first flow where there are several; ``targets`` are those of all flows. ``is_over``: there is no change
    left, and the answers after the last one are there.
    """

    plan: ScenarioPlan
    service: ServiceState
    stream: Stream | None = None
    streamed: list[Answer] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    moments: list[tuple[float, float]] = field(default_factory=list)
    answered_by: str = ""
    targets: tuple[Target, ...] = ()
    is_over: bool = False

    @property
    def lacks_stream(self) -> bool:
        """Whether a stream of requests is to begin now."""
        return bool(self.plan.streams and not self.is_over and self.steps[-1].usable and self.stream is None)

    @property
    def asks(self) -> bool:
        """Whether a few requests are to be sent now."""
        return bool(self.plan.sends_requests and self.stream is None and self.service.cluster_ips)

    def end_after_last_change(self) -> None:
        """Have the stream end soon if no change is left: each of its requests costs a millisecond of processor time."""
        self.is_over = len(self.steps) > len(self.plan.changes)
        if self.is_over and self.stream:
            self.stream.end()

    def stop_stream(self) -> None:
        """End the stream of requests and keep its answers."""
        if self.stream:
            self.streamed += self.stream.stop()
            self.stream = None


def _stop_streams(of: Iterable[_RunningScenario]) -> None:
    """End the streams of requests, all at the same time, and keep their answers."""
    stopped = [running for running in of if running.stream]
    for running in stopped:
        if running.stream:
            running.stream.end()
    for running in stopped:
        running.stop_stream()


def run(plans: Mapping[Scenario, ScenarioPlan], testbed: Testbed) -> dict[Scenario, ScenarioResult]:
    """Run all scenarios and return what was observed of each; raises SuiteError."""
    # Not recorded as a whole: each claim has the evidence of its own scenario.
    with recorder.suppressed():
        return _Run(plans, testbed).results()


class _Run:
    def __init__(self, plans: Mapping[Scenario, ScenarioPlan], testbed: Testbed) -> None:
        self._plans = plans
        self._testbed = testbed
        self._client = testbed.client
        self._deadlines = testbed.deadlines
        self._running: dict[Scenario, _RunningScenario] = {}
        self._flows: Flows | None = None

    def results(self) -> dict[Scenario, ScenarioResult]:
        try:
            self._begin()
            for number in range(max(len(plan.changes) for plan in self._plans.values())):
                self._round(number)
            _stop_streams(self._running.values())
            steps = {scenario: _with_streamed_answers(running) for scenario, running in self._running.items()}
            over = self._client.uptime()
            left = self._end(steps)
            flows = self._end_of_flows()
            steps = {
                scenario: _with_flows(steps[scenario], running, flows, over)
                for scenario, running in self._running.items()
            }
        finally:
            if self._flows:
                self._flows.abandon()
            for running in self._running.values():
                if running.stream:
                    running.stream.abandon()
        return {scenario: ScenarioResult(steps[scenario], left[scenario]) for scenario in self._running}

    def _begin(self) -> None:
        began = time.monotonic()
        services = self._testbed.services.create_all([plan.request for plan in self._plans.values()])
        self._running = {
            scenario: _RunningScenario(plan, service, targets=targets(service))
            for (scenario, plan), service in zip(self._plans.items(), services, strict=True)
        }
        self._wait_for_sync(self._running.values(), {}, began, 0.0)

    def _round(self, number: int) -> None:
        changing = [running for running in self._running.values() if number < len(running.plan.changes)]
        changes = {running.service.name: running.plan.changes[number] for running in changing}
        _stop_streams(running for running in changing if changes[running.service.name].silent)
        at, began = self._client.uptime(), time.monotonic()
        endpoints = _make(changes, changing)
        services = self._testbed.services.wait_for_endpoints(
            {name: pods for name, pods in endpoints.items() if not changes[name].deletes}
        )
        for running in changing:
            running.service = services.get(running.service.name) or _deleted(running.service)
        if not any(change.is_undone for change in changes.values()):
            self._wait_for_sync(changing, changes, began, at)
            return
        # kube-proxy watches EndpointSlices in their order: a node with the rules of this Service has followed.
        sentinel = self._testbed.services.create(ServiceRequest("sentinel"))
        try:
            self._wait_for_sync(changing, changes, began, at, sentinel)
        finally:
            self._testbed.services.delete(sentinel)

    def _wait_for_sync(
        self,
        changed: Iterable[_RunningScenario],
        changes: Mapping[str, EndpointChange],
        began: float,
        at: float,
        *sentinels: ServiceState,
    ) -> None:
        """Wait until the nodes have the rules that the changed Services call for, then for the clients' answers.

        The nodes have the rules of ``sentinels`` then, too.
        """
        changing = [running.service for running in changed]
        sync = self._testbed.wait_for_sync(*changing, *sentinels, since=began, with_entries=True)
        after = self._client.uptime()
        compared = {name: self._testbed.compare_many(state, changing) for name, state in sync.states.items()}
        for running in changed:
            change = changes.get(running.service.name)
            differences = {name: of_node[running.service] for name, of_node in compared.items()}
            result = StepResult(
                change.step if change else ScenarioStep.MADE,
                running.service,
                sync,
                seconds=after - at if change else 0.0,
                differences=differences,
                usable=self._usable(running.service),
                frees=bool(change and change.frees),
                returned=self._returned(running),
            )
            running.steps.append(result)
            running.moments.append((at, after))
        self._wait_for_answers(changed, after)

    def _returned(self, running: _RunningScenario) -> dict[str, tuple[str, ...]]:
        """Return, by node, the endpoints of a Service whose affinity stores the node kept since they last were some."""
        if not running.steps or not running.steps[-1].states:
            return {}
        before, backend = running.steps[-1], self._testbed.backend
        stores = backend.affinity_stores(running.service)
        return {
            node: tuple(stores[name].pod for name in backend.unused_stores(state, before.service) if name in stores)
            for node, state in before.states.items()
        }

    def _wait_for_answers(self, changed: Iterable[_RunningScenario], after: float) -> None:
        self._start_streams()
        asked = [running for running in changed if running.asks]
        # A request without an endpoint may take seconds: the kernel limits the rate of its refusals.
        self._request([running for running in asked if running.steps[-1].usable], ANSWERS)
        self._request([running for running in asked if not running.steps[-1].usable], 1)
        # Flows and streams go on by themselves meanwhile.
        self._wait_for_flows(after)
        for running in self._running.values():
            if running.stream and not running.is_over:
                answers = running.stream.wait_for(
                    lambda answers: _are_enough(since(answers, after)), self._deadlines.answers_after_change
                )
                endpoints = (answer.endpoint for answer in reversed(answers.answers) if answer.endpoint)
                running.answered_by = next(endpoints, "")
        for running in changed:
            running.end_after_last_change()

    def _start_streams(self) -> None:
        """Start the streams that are missing, all at the same time: each takes a new process in the client's pod."""
        missing = [running for running in self._running.values() if running.lacks_stream]
        if not missing:
            return
        with ThreadPoolExecutor(len(missing), thread_name_prefix="streams") as pool:
            begun = [pool.submit(self._client.stream, target(running.service)) for running in missing]
        for running, stream in zip(missing, begun, strict=True):
            if not stream.exception():
                running.stream = stream.result()
        for stream in begun:
            stream.result()  # raises what kept one from beginning, now that the others will be ended

    def _request(self, asked: Sequence[_RunningScenario], count: int) -> None:
        """Send requests to Services, all in one command, and note the answers of each."""
        if not asked:
            return
        answers = self._client.request(*(target(running.service) for running in asked), count=count).answers
        for number, running in enumerate(asked):
            own = Answers(answers[number * count : (number + 1) * count])
            running.steps[-1] = replace(running.steps[-1], answers=own)

    def _wait_for_flows(self, after: float) -> None:
        """Wait until each flow has an answer, or none in time, to a datagram sent after a moment; start them first."""
        flowing = [running for running in self._running.values() if running.plan.flows]
        if not flowing:
            return
        if self._flows is None:
            # Each flow has a target of its own: two Services have two addresses.
            self._flows = self._client.flows([target for running in flowing for target in running.targets])
        answers = self._flows.wait_for(
            lambda by_flow: all(len(since(of_flow, after)) for of_flow in by_flow.values()),
            self._deadlines.answers_after_change,
        )
        for running in flowing:
            first = answers[running.targets[0]].answers[-1]
            running.answered_by = first.endpoint or ""

    def _end_of_flows(self) -> dict[Target, Answers]:
        """Return the answers of all flows, which go on until the nodes have followed the deletion of the Services."""
        if self._flows is None:
            return {}
        self._wait_for_flows(self._client.uptime())
        return self._flows.stop()

    def _usable(self, service: ServiceState) -> tuple[str, ...]:
        """Return the pods that may answer the client: with a Local policy those of its own node."""
        local, node = service.internal_policy == "Local", self._client.node
        usable = [local_endpoints(port, node) if local else port.endpoints for port in service.ports]
        return tuple(dict.fromkeys(endpoint.pod for endpoints in usable for endpoint in endpoints))

    def _end(self, steps: Mapping[Scenario, Sequence[StepResult]]) -> dict[Scenario, ByNode[tuple[str, ...]]]:
        """Delete the Services, wait until nodes have nothing of them, and return what is left by then."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="delete") as pool:
            list(pool.map(self._testbed.services.delete, (running.service for running in self._running.values())))
        if not self._testbed.reads_rules:
            return {scenario: ByNode({}) for scenario in steps}
        services = {
            scenario: tuple({result.service.ports: result.service for result in results}.values())
            for scenario, results in steps.items()
        }

        def objects_of(_: str, state: NodeSnapshot) -> dict[Scenario, tuple[str, ...]]:
            objects = {scenario: self._objects_of(states, state) for scenario, states in services.items()}
            return {scenario: of_scenario for scenario, of_scenario in objects.items() if of_scenario}

        left = self._testbed.wait_for_removal(objects_of)
        return {scenario: left.map(partial(_of_scenario, scenario)) for scenario in steps}

    def _objects_of(self, services: Iterable[ServiceState], state: NodeSnapshot) -> tuple[str, ...]:
        """Return what a node has of a Service with any of these ports."""
        objects = (text for service in services for text in self._testbed.backend.objects_of(state, service))
        return tuple(dict.fromkeys(objects))


def _make(changes: Mapping[str, EndpointChange], changing: Sequence[_RunningScenario]) -> dict[str, Collection[str]]:
    """Make the changes, several at the same time, and return the pods that are endpoints then; by Service name."""

    def make(running: _RunningScenario) -> Collection[str]:
        return changes[running.service.name].act(running.service, running.answered_by)

    endpoints: dict[str, Collection[str]] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="changes") as pool:
        for follows in (False, True):
            made = [running for running in changing if changes[running.service.name].follows == follows]
            endpoints |= zip((running.service.name for running in made), pool.map(make, made), strict=True)
    return endpoints


def _of_scenario(scenario: Scenario, _: str, objects: Mapping[Scenario, tuple[str, ...]]) -> tuple[str, ...]:
    return objects.get(scenario, ())


def _with_streamed_answers(running: _RunningScenario) -> tuple[StepResult, ...]:
    """Return the steps of a scenario with the answers that came during each and after it."""
    if not running.plan.streams:
        return tuple(running.steps)
    ends = [*(at for at, _ in running.moments[1:]), float("inf")]
    results: list[StepResult] = []
    left = list(running.streamed)
    for result, (_, processed), end in zip(running.steps, running.moments, ends, strict=True):
        answers = [answer for answer in left if (answer.not_after or 0.0) <= end]
        left = left[len(answers) :]
        first = next(
            (place for place, answer in enumerate(answers) if (answer.not_before or 0.0) >= processed), len(answers)
        )
        during = Answers(tuple(answers[:first])) if results else NO_ANSWERS
        after = Answers((*result.answers, *answers[first:]))
        results.append(replace(result, during=during, answers=after))
    return tuple(results)


def _with_flows(
    steps: tuple[StepResult, ...], running: _RunningScenario, flows: Mapping[Target, Answers], over: float
) -> tuple[StepResult, ...]:
    """Return the steps of a scenario with the answers of its flows, those of each from its change to the next.

    The last step ends when the run deletes the Services, at the moment ``over``, unless it is itself the deletion.
    """
    if not running.plan.flows:
        return steps
    bounds = [*(at for at, _ in running.moments), float("inf") if running.plan.changes[-1].deletes else over]
    return tuple(
        replace(step, flows=tuple(_between(flows[target], *window) for target in running.targets))
        for step, window in zip(steps, itertools.pairwise(bounds), strict=True)
    )


def _between(answers: Answers, begin: float, end: float) -> Answers:
    """Return the answers to datagrams sent from a moment on and before another."""
    return Answers(tuple(answer for answer in answers if begin <= (answer.not_before or 0.0) < end))


def _deleted(service: ServiceState) -> ServiceState:
    """Return a Service that was deleted: nodes are to have no rules for it."""
    ports = tuple(port.without_endpoints() for port in service.ports)
    return replace(service, cluster_ips=(), ports=ports)


def _are_enough(answers: Answers) -> bool:
    return len(answers) >= ANSWERS or len(answers.failures) >= FAILURES
