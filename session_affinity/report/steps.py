"""Turns the recorded events of a test into a few steps that read as arrange, observe, judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, assert_never

from session_affinity.recorder import CHANGED, READ, Action, Conclusion, NodeRead, Note, RequestRound, ServiceStored
from session_affinity.report import attachments as render
from session_affinity.report.attachment import Attachment, shortened
from session_affinity.report.rule_diffs import has_rules
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult
from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients
from session_affinity.scenarios.expiry.trials import TrialsSeen
from session_affinity.testbed.testbed import SyncResult
from session_affinity.traffic.answers import targets as targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.recorder import Event, Recorded
    from session_affinity.scenarios.endpoint_changes.result import StepResult

MOST_STEPS: Final = 10
MOST_SERVICES: Final = 4
"""The number of Services of a test whose rules, affinity entries and objects are shown."""

_OfCluster: TypeAlias = ServiceStored | SyncResult | RequestRound | NodeRead | Action
_OfScenario: TypeAlias = TrialsSeen | SilentClients | ExpiredElements | ScenarioResult


class Phase(StrEnum):
    """The purpose of a step."""

    ARRANGE = "Arrange"
    OBSERVE = "Observe"
    JUDGE = "Judge"


class Content(NamedTuple):
    """What an event adds to the report."""

    title: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class ReportStep:
    """A step of the report; times are seconds since the epoch."""

    phase: Phase
    title: str
    began: float
    ended: float
    attachments: tuple[Attachment, ...] = ()
    steps: tuple[ReportStep, ...] = ()
    ok: bool = True


@dataclass(frozen=True)
class Context:
    """The settings of the nodes' kube-proxies, and the tick rates of nodes."""

    proxy_configs: ProxyConfigs | None = None
    hz: Mapping[str, int] = field(default_factory=dict)


def steps(events: Sequence[Event], context: Context, setup: int = 0) -> tuple[ReportStep, ...]:
    """Return events as steps, at most ten on the first level; the first ``setup`` events are those of the set-up.

    Raises AssertionError for an observation that is not ``Recorded``.
    """
    builder = _StepBuilder(events, context)
    return tuple(_condensed([builder.step(place, event, setup=place < setup) for place, event in enumerate(events)]))


def states_in(observation: Recorded) -> Mapping[str, NodeSnapshot]:
    """Return the states of nodes that an observation contains, by node name."""
    return observation.states if isinstance(observation, (NodeRead, SyncResult)) else {}


class _StepBuilder:
    """Builds the step of each event in turn, and keeps the latest state of the Services that the test is about."""

    def __init__(self, events: Sequence[Event], context: Context) -> None:
        self._context = context
        observations = [event.observation for event in events]
        verdicts = [entry.verdict for entry in observations if isinstance(entry, Conclusion)]
        self._failed = not verdicts or not all(verdict.ok for verdict in verdicts)
        judged = [verdict.service for verdict in verdicts if verdict.service]
        stored = [service for entry in observations if isinstance(entry, ServiceStored) for service in entry.services]
        synced = [service for entry in observations if isinstance(entry, SyncResult) for service in entry.services]
        services = [*judged, *stored] or synced
        self._services = {(service.key, service.family): service for service in reversed(services)}
        self._shown = list(dict.fromkeys(service.key for service in services))[:MOST_SERVICES]
        self._verdict_place = max(
            (place for place, entry in enumerate(observations) if isinstance(entry, Conclusion)), default=None
        )
        reads = [place for place, entry in enumerate(observations) if any(map(has_rules, states_in(entry).values()))]
        before = [place for place in reads if self._verdict_place is None or place < self._verdict_place]
        late = [place for place, entry in enumerate(observations) if isinstance(entry, SyncResult) and entry.late]
        # The rules that were judged, those that did not match in time, and those read after the failure.
        self._with_rules = {*late, *reads[-1:], *before[-1:]}

    def step(self, place: int, event: Event, *, setup: bool) -> ReportStep:
        """Return the step of an event."""
        observation = event.observation
        title, attachments = self._content(observation, place)
        phase = Phase.ARRANGE if setup else _phase(observation)
        parts = tuple(self._parts(observation, event)) if isinstance(observation, ScenarioResult) else ()
        ok = not isinstance(observation, Conclusion) or observation.verdict.ok
        return ReportStep(phase, f"{phase}: {title}", event.began, event.ended, attachments, parts, ok=ok)

    def _content(self, observation: Recorded, place: int) -> Content:
        if isinstance(observation, Conclusion):
            return Content(_conclusion_title(observation), render.conclusion(observation))
        if isinstance(observation, Note):
            return _note(observation)
        if isinstance(observation, (TrialsSeen, SilentClients, ExpiredElements, ScenarioResult)):
            return _of_scenario(observation)
        return self._of_cluster(observation, place)

    def _of_cluster(self, observation: _OfCluster, place: int) -> Content:
        """Return the content of an API change, a request round or a node read."""
        match observation:
            case ServiceStored():
                self._update(observation.services)
                return Content(_stored_title(observation), render.objects(observation, self._shown))
            case SyncResult():
                self._update(observation.services)
                family = observation.services[0].family if observation.services else "IPv4"
                return Content(_sync_title(observation), self._of_nodes(observation.states, place, family))
            case RequestRound(pod, address, node, answers):
                return Content(f"{pod} ({address}) on {node} sent {answers.summary()}", self._answers(observation))
            case NodeRead(states, family):
                again = self._verdict_place is not None and place > self._verdict_place
                title = f"read the state of {_nodes(states)}{' again, after the verdict' if again else ''}"
                return Content(title, self._of_nodes(states, place, family))
            case Action(description, where):
                return Content(f"{where}: {description}" if where else description)
            case _:
                assert_never(observation)

    def _parts(self, scenario: ScenarioResult, event: Event) -> Iterator[ReportStep]:
        """Yield a step for each step of a scenario: entries always, rules at the end and where they differed."""
        for result in scenario.steps:
            configs, states = self._context.proxy_configs, result.states
            title = f"{result.step}: {_rounds_summary(result)}"
            attachments = render.affinity_entries(configs, [result.service], states, self._context.hz)
            if any(result.differences.values()) or result is scenario.steps[-1]:
                attachments += render.rules(configs, [result.service], states, thorough=self._failed)
            yield ReportStep(Phase.OBSERVE, title, event.began, event.ended, attachments)

    def _update(self, services: Iterable[ServiceState]) -> None:
        self._services |= {(service.key, service.family): service for service in services}

    def _of_nodes(self, states: Mapping[str, NodeSnapshot], place: int, family: Family) -> tuple[Attachment, ...]:
        services = [self._services[key, family] for key in self._shown if (key, family) in self._services]
        with_entries = {name: state for name, state in states.items() if not state.rules_only}
        attachments = render.affinity_entries(self._context.proxy_configs, services, with_entries, self._context.hz)
        if place in self._with_rules:
            attachments += render.rules(self._context.proxy_configs, services, states, thorough=self._failed)
        return attachments

    def _answers(self, requests: RequestRound) -> tuple[Attachment, ...]:
        addressable = [service for service in self._services.values() if service.cluster_ips and service.ports]
        names = {str(target): service.name for service in addressable for target in targets_of(service)}
        targets = list(dict.fromkeys(str(answer.target) for answer in requests.answers))
        to = names.get(targets[0], targets[0]) if len(targets) == 1 else f"{len(targets)} Services"
        title = f"{len(requests.answers)} requests from {requests.pod} to {to}"
        return render.answers(requests.name, title, requests.answers, names)


def _phase(observation: Recorded) -> Phase:
    """Return the phase of an event after the set-up."""
    match observation:
        case Conclusion():
            return Phase.JUDGE
        case Action():
            return Phase.ARRANGE
        case ServiceStored(how=how) if how != READ:
            return Phase.ARRANGE
        case _:
            return Phase.OBSERVE


def _of_scenario(observation: _OfScenario) -> Content:
    """Return the content of the result of a scenario."""
    match observation:
        case TrialsSeen(trials):
            return Content(f"{len(trials)} clients of the shared wait", render.trials(trials))
        case SilentClients(services):
            title = f"{len(services)} clients that sent nothing until their timeout was over"
            return Content(title, render.silent_clients(observation))
        case ExpiredElements(services):
            title = f"{len(services)} clients that sent one request, and their node after their timeout was over"
            return Content(title, render.expired_elements(observation))
        case ScenarioResult(steps):
            title = f"requests of one client to {observation.service.key} through {len(steps)} steps"
            return Content(title, render.scenario(observation))
        case _:
            assert_never(observation)


def _rounds_summary(result: StepResult) -> str:
    rounds = ((result.during, "during the sync"), (result.answers, "after the sync"))
    return "; ".join(f"{answers.summary()} {when}" for answers, when in rounds if len(answers)) or "no requests"


def _note(note: Note) -> Content:
    if "\n" not in note.text.strip():
        return Content(f"{note.name}: {note.text.strip()}")
    return Content(note.name, (Attachment(note.name, shortened(note.text)),))


def _stored_title(stored: ServiceStored) -> str:
    if len(stored.services) != 1:
        return f"{stored.how} {len(stored.services)} Services"
    (service,) = stored.services
    timeout = f", {service.timeout_seconds} s" if service.timeout_seconds else ""
    affinity = f"sessionAffinity {service.session_affinity}{timeout}"
    if stored.how == CHANGED:
        return f"{stored.how} Service {service.key} to {affinity}"
    return f"{stored.how} Service {service.key} with {affinity}, {len(service.endpoints)} endpoints"


def _sync_title(sync: SyncResult) -> str:
    if not sync.states:
        return f"a sentinel Service created after the change answered {sync.waited:.2f} s after it"
    late = [name for name in sync.differences if name not in sync.seconds]
    title = f"rules in place on {len(sync.seconds)} of {len(sync.differences)} nodes: {sync.latency()}"
    return title + (f"; not on {', '.join(late)}" if late else "")


def _nodes(states: Mapping[str, object]) -> str:
    return next(iter(states)) if len(states) == 1 else f"{len(states)} nodes"


def _conclusion_title(conclusion: Conclusion) -> str:
    verdict = conclusion.verdict
    return f"holds: {verdict.headline}" if verdict.ok else verdict.explain(conclusion.claim).splitlines()[0]


def _condensed(made: Sequence[ReportStep]) -> list[ReportStep]:
    """Return at most ten steps: adjacent steps of one phase are joined, then all but the first two and the last."""
    if len(made) <= MOST_STEPS:
        return list(made)
    joined = [_joined(list(run)) for _, run in groupby(made, key=lambda step: step.phase)]
    if len(joined) <= MOST_STEPS:
        return joined
    head, tail = 2, MOST_STEPS - 3
    return [*joined[:head], _joined(joined[head:-tail]), *joined[-tail:]]


def _joined(run: Sequence[ReportStep]) -> ReportStep:
    if len(run) == 1:
        return run[0]
    phase = run[0].phase if len({step.phase for step in run}) == 1 else Phase.OBSERVE
    title = f"{phase}: {len(run)} steps, the last: {run[-1].title.removeprefix(f'{run[-1].phase}: ')}"
    return ReportStep(phase, title, run[0].began, run[-1].ended, steps=tuple(run), ok=all(step.ok for step in run))
