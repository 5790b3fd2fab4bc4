"""All stories at the same time, in rounds: each Service has its change, the nodes are waited for once, clients go on.

The rounds cost what one story would. Services share nothing but pods, and what happens to a pod itself happens in one
story, or in those that are about it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.dataplane.topology import local_endpoints
from session_affinity.scenarios.endpoint_changes.result import NOBODY, ScenarioResult, Stage
from session_affinity.traffic.answers import Answers, target
from session_affinity.traffic.stream import since
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.endpoint_changes.scenario import EndpointChange, Scenario, ScenarioPlan
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.answers import Answer
    from session_affinity.traffic.stream import Stream

ANSWERS: Final = 10
"""How many requests tell whether a client stays with an endpoint."""
FAILURES: Final = 3
"""How many that fail tell that it does not: each may take seconds."""


@dataclass
class _Walk:
    """A story under way. ``moments`` are, for each stage, when its change began and when the client's node knew it."""

    plan: ScenarioPlan
    service: ServiceState
    stream: Stream | None = None
    heard: list[Answer] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    moments: list[tuple[float, float]] = field(default_factory=list)
    answered: str = ""

    def listen_no_more(self) -> None:
        """End the requests that go on, and keep what came of them."""
        if self.stream:
            self.heard += self.stream.stop()
            self.stream = None


def run(plans: Mapping[Scenario, ScenarioPlan], testbed: Testbed) -> dict[Scenario, ScenarioResult]:
    """Have all stories happen and return what was seen of each; raises SuiteError."""
    # All of it is no one claim's evidence: each has that of its own story.
    with recorder.suppressed():
        return _Run(plans, testbed).courses()


class _Run:
    def __init__(self, plans: Mapping[Scenario, ScenarioPlan], testbed: Testbed) -> None:
        self._plans = plans
        self._programming = testbed
        self._client = testbed.client
        self._deadlines = testbed.deadlines
        self._walks: dict[Scenario, _Walk] = {}

    def courses(self) -> dict[Scenario, ScenarioResult]:
        try:
            self._begin()
            for number in range(max(len(plan.changes) for plan in self._plans.values())):
                self._round(number)
            for walk in self._walks.values():
                walk.listen_no_more()
            stages = {story: _divided(walk) for story, walk in self._walks.items()}
            left = self._end(stages)
        finally:
            for walk in self._walks.values():
                if walk.stream:
                    walk.stream.abandon()
        return {story: ScenarioResult(stages[story], left[story]) for story in self._walks}

    def _begin(self) -> None:
        began = time.monotonic()
        made = self._programming.services.create_all([plan.wish for plan in self._plans.values()])
        self._walks = {
            story: _Walk(plan, service) for (story, plan), service in zip(self._plans.items(), made, strict=True)
        }
        self._wait_for_sync(self._walks.values(), {}, began, 0.0)

    def _round(self, number: int) -> None:
        changing = [walk for walk in self._walks.values() if number < len(walk.plan.changes)]
        changes = {walk.service.name: walk.plan.changes[number] for walk in changing}
        for walk in changing:
            if changes[walk.service.name].silent:
                walk.listen_no_more()
        at, began = self._client.uptime(), time.monotonic()
        wanted = {walk.service.name: changes[walk.service.name].act(walk.service, walk.answered) for walk in changing}
        known = self._programming.services.await_endpoints(
            {name: pods for name, pods in wanted.items() if not changes[name].deletes}
        )
        for walk in changing:
            walk.service = known.get(walk.service.name) or _gone(walk.service)
        self._wait_for_sync(changing, changes, began, at)

    def _wait_for_sync(
        self, walks: Iterable[_Walk], changes: Mapping[str, EndpointChange], began: float, at: float
    ) -> None:
        """Wait until the nodes hold what the changed Services call for, then for what the clients make of it."""
        sync = self._programming.wait_for_sync(*(walk.service for walk in walks), since=began)
        after = self._client.uptime()
        for walk in walks:
            change = changes.get(walk.service.name)
            differences = {name: self._programming.compare(state, walk.service) for name, state in sync.states.items()}
            stage = Stage(
                change.says if change else "made",
                walk.service,
                sync,
                seconds=after - at if change else 0.0,
                differences=differences,
                usable=self._usable(walk.service),
            )
            walk.stages.append(stage)
            walk.moments.append((at, after))
        self._ask(walks, after)

    def _ask(self, changed: Iterable[_Walk], after: float) -> None:
        for walk in self._walks.values():
            if walk.plan.followed and walk.stages[-1].usable and walk.stream is None:
                walk.stream = self._client.stream(target(walk.service))
        for walk in self._walks.values():
            if walk.stream:
                answers = walk.stream.wait_for(
                    lambda answers: _tells(since(answers, after)), self._deadlines.answers_after_change
                )
                walk.answered = next((one.endpoint for one in reversed(answers.answers) if one.endpoint), "")
        for walk in changed:
            if walk.plan.asked and walk.stream is None and walk.service.cluster_ips:
                # One that nobody answers may take seconds: the kernel tells only so often that no one is there.
                count = ANSWERS if walk.stages[-1].usable else 1
                answers = self._client.request(target(walk.service), count=count)
                walk.stages[-1] = replace(walk.stages[-1], answers=answers)

    def _usable(self, service: ServiceState) -> tuple[str, ...]:
        """Return the pods that may answer the client: with a Local policy those of its own node."""
        local, node = service.internal_policy == "Local", self._client.node
        usable = [local_endpoints(port, node) if local else port.endpoints for port in service.ports]
        return tuple(dict.fromkeys(endpoint.pod for endpoints in usable for endpoint in endpoints))

    def _end(self, stages: Mapping[Scenario, Sequence[Stage]]) -> dict[Scenario, dict[str, tuple[str, ...]]]:
        """Delete the Services, wait until nodes hold nothing of them, and return what they hold all the same."""
        for walk in self._walks.values():
            self._programming.services.delete(walk.service)
        if not self._programming.reads_rules:
            return {story: {} for story in stages}
        left: dict[Scenario, dict[str, tuple[str, ...]]] = {}

        def nothing_is_left() -> bool:
            states = self._programming.nodes.read()
            for story, seen in stages.items():
                forms = {stage.service.ports: stage.service for stage in seen}.values()
                left[story] = {
                    name: tuple(
                        dict.fromkeys(one for own in forms for one in self._programming.backend.objects_of(state, own))
                    )
                    for name, state in states.items()
                }
            return not any(one for nodes in left.values() for one in nodes.values())

        poll(nothing_is_left, self._deadlines.sync)
        return left


def _divided(walk: _Walk) -> tuple[Stage, ...]:
    """Return the stages with the answers that came in each."""
    if not walk.plan.followed:
        return tuple(walk.stages)
    ends = [*(at for at, _ in walk.moments[1:]), float("inf")]
    stages: list[Stage] = []
    left = list(walk.heard)
    for stage, (_, known), end in zip(walk.stages, walk.moments, ends, strict=True):
        own = [one for one in left if (one.not_after or 0.0) <= end]
        left = left[len(own) :]
        first = next((place for place, one in enumerate(own) if (one.not_before or 0.0) >= known), len(own))
        during = Answers(tuple(own[:first])) if stages else NOBODY
        stages.append(replace(stage, during=during, answers=Answers((*stage.answers, *own[first:]))))
    return tuple(stages)


def _gone(service: ServiceState) -> ServiceState:
    """Return a Service that was deleted as what nodes are to hold of it: nothing."""
    ports = tuple(replace(port, endpoints=(), serving_terminating=()) for port in service.ports)
    return replace(service, cluster_ips=(), ports=ports)


def _tells(answers: Answers) -> bool:
    return len(answers) >= ANSWERS or len(answers.failures) >= FAILURES
