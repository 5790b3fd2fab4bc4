"""What was seen in a test, as a few steps that read as arrange, observe, judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final

from session_affinity.cluster_objects.services import target
from session_affinity.recorder import CHANGED, READ, Action, NodeRead, Note, RequestRound, ServiceStored
from session_affinity.report import attachments as render
from session_affinity.report.attachment import Attachment, shortened
from session_affinity.report.rule_diffs import has_rules
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult
from session_affinity.scenarios.expiry.shared_wait import SilentClients
from session_affinity.scenarios.expiry.trials import TrialsSeen
from session_affinity.testbed.testbed import SyncResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.claims import Claim
    from session_affinity.dataplane.model import Family, ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.recorder import Event
    from session_affinity.verdicts.verdict import Verdict

MOST_STEPS: Final = 10
MOST_SERVICES: Final = 4
"""Of how many Services of a test rules, lists and objects are shown."""


Told = tuple[str, tuple[Attachment, ...]]
"""The title of a step and its attachments."""


class Phase(StrEnum):
    """What a step is for."""

    ARRANGE = "Arrange"
    OBSERVE = "Observe"
    JUDGE = "Judge"


@dataclass(frozen=True)
class Conclusion:
    """The verdict of a test on its claim."""

    verdict: Verdict
    claim: Claim


@dataclass(frozen=True)
class ReportStep:
    """A line of the report, with what belongs to it; times are seconds since the epoch."""

    phase: Phase
    title: str
    began: float
    ended: float
    attachments: tuple[Attachment, ...] = ()
    steps: tuple[ReportStep, ...] = ()
    ok: bool = True


@dataclass(frozen=True)
class Context:
    """The settings of kube-proxy, and the tick rates of nodes."""

    proxy: ProxyConfig | None = None
    hz: Mapping[str, int] = field(default_factory=dict)


def steps(sightings: Sequence[Event], context: Context, setup: int = 0) -> tuple[ReportStep, ...]:
    """Return what was seen as steps, ten at most on the first level; the first ``setup`` sightings are the set-up's."""
    reading = _Reading(sightings, context)
    made = [
        one for place, sighting in enumerate(sightings) for one in reading.steps(place, sighting, setup=place < setup)
    ]
    return tuple(_condensed(made))


def seen_states(what: object) -> Mapping[str, NodeSnapshot]:
    """Return the nodes that a sighting holds."""
    return what.states if isinstance(what, (NodeRead, SyncResult)) else {}


class _Reading:
    """Goes through the sightings, knowing which Services the test is about and how they are at each moment."""

    def __init__(self, sightings: Sequence[Event], context: Context) -> None:
        self._context = context
        verdicts = [one.what.verdict for one in sightings if isinstance(one.what, Conclusion)]
        judged = [one.service for one in verdicts]
        self._failed = not verdicts or not all(one.ok for one in verdicts)
        stored = [service for one in sightings if isinstance(one.what, ServiceStored) for service in one.what.services]
        sync = [service for one in sightings if isinstance(one.what, SyncResult) for service in one.what.services]
        about = [*filter(None, judged), *stored] or sync
        self._services = {(service.key, service.family): service for service in reversed(about)}
        self._about = list(dict.fromkeys(service.key for service in about))[:MOST_SERVICES]
        readings = [place for place, one in enumerate(sightings) if _has_rules(one.what)]
        self._judged = max(
            (place for place, one in enumerate(sightings) if isinstance(one.what, Conclusion)), default=None
        )
        before = [place for place in readings if self._judged is None or place < self._judged]
        late = [place for place, one in enumerate(sightings) if isinstance(one.what, SyncResult) and one.what.late]
        # The rules that were judged, those that never came right, and those that were found when it had failed.
        self._with_rules = {*late, *readings[-1:], *before[-1:]}

    def steps(self, place: int, sighting: Event, *, setup: bool) -> Iterator[ReportStep]:
        """Yield the step of a sighting; none where it has nothing to say."""
        what = sighting.what
        told = self._of_cluster(what, place) or _of_test(what)
        if told is None:
            return
        title, attachments = told
        done = isinstance(what, Action) or (isinstance(what, ServiceStored) and what.how != READ)
        phase = Phase.JUDGE if isinstance(what, Conclusion) else Phase.ARRANGE if setup or done else Phase.OBSERVE
        within = tuple(self._stages(what, sighting)) if isinstance(what, ScenarioResult) else ()
        ok = not isinstance(what, Conclusion) or what.verdict.ok
        yield ReportStep(phase, f"{phase}: {title}", sighting.began, sighting.ended, attachments, within, ok=ok)

    def _of_cluster(self, what: object, place: int) -> Told | None:
        """Return how something is told that clients, nodes or makers of objects saw or did."""
        match what:
            case ServiceStored():
                self._remember(what.services)
                return _stored_title(what), render.objects(what, self._about)
            case SyncResult():
                self._remember(what.services)
                return _settled_title(what), self._held(what.states, place, _family(what))
            case RequestRound():
                title = f"{what.pod} ({what.address}) on {what.node} asks, {what.answers.summary()}"
                return title, self._answers(what)
            case NodeRead():
                when = "read again after the verdict" if self._judged is not None and place > self._judged else "read"
                title = f"{when}: what {_nodes(what.states)} hold{'s' if len(what.states) == 1 else ''}"
                return title, self._held(what.states, place, what.family)
            case Action():
                return f"{what.where}: {what.what}" if what.where else what.what, ()
        return None

    def _stages(self, course: ScenarioResult, sighting: Event) -> Iterator[ReportStep]:
        """Yield a step a stage, with whom the nodes remembered then; the rules at the end, and where they differed."""
        for stage in course.stages:
            proxy, states = self._context.proxy, stage.states
            title = f"{stage.change}: {stage.during.summary()} while the nodes followed, then {stage.answers.summary()}"
            attachments = render.affinity_entries(proxy, [stage.service], states, self._context.hz)
            if any(stage.differences.values()) or stage is course.stages[-1]:
                attachments += render.rules(proxy, [stage.service], states, thorough=self._failed)
            yield ReportStep(Phase.OBSERVE, title, sighting.began, sighting.ended, attachments)

    def _remember(self, services: Iterable[ServiceState]) -> None:
        self._services |= {(service.key, service.family): service for service in services}

    def _held(self, states: Mapping[str, NodeSnapshot], place: int, family: Family) -> tuple[Attachment, ...]:
        services = [self._services[key, family] for key in self._about if (key, family) in self._services]
        found = render.affinity_entries(self._context.proxy, services, states, self._context.hz)
        if place in self._with_rules:
            found += render.rules(self._context.proxy, services, states, thorough=self._failed)
        return found

    def _answers(self, what: RequestRound) -> tuple[Attachment, ...]:
        names = {str(target(one)): one.name for one in self._services.values() if one.cluster_ips and one.ports}
        targets = list(dict.fromkeys(str(one.target) for one in what.answers))
        asked = names.get(targets[0], targets[0]) if len(targets) == 1 else f"{len(targets)} Services"
        title = f"{len(what.answers)} requests from {what.pod} to {asked}"
        return render.answers(what.name, title, what.answers, names)


def _of_test(what: object) -> Told | None:
    """Return how something is told that a test named itself."""
    match what:
        case TrialsSeen():
            return f"{len(what.trials)} clients of the shared wait", render.trials(what.trials)
        case SilentClients():
            return f"{len(what.services)} clients that nobody asked meanwhile", render.rest(what)
        case ScenarioResult():
            title = f"a client that goes on asking {what.service.key} through {len(what.stages)} stages"
            return title, render.course(what)
        case Note():
            return _note(what)
        case Conclusion():
            return _conclusion(what), render.judgement(what.verdict, what.claim)
    return None


def _note(what: Note) -> Told:
    if "\n" not in what.text.strip():
        return f"{what.name}: {what.text.strip()}", ()
    return what.name, (Attachment(what.name, shortened(what.text)),)


def _has_rules(what: object) -> bool:
    return any(map(has_rules, seen_states(what).values()))


def _stored_title(what: ServiceStored) -> str:
    if len(what.services) != 1:
        return f"{what.how} {len(what.services)} Services"
    (service,) = what.services
    timeout = f", {service.timeout_seconds} s" if service.timeout_seconds else ""
    affinity = f"sessionAffinity {service.session_affinity}{timeout}"
    told = f"to {affinity}" if what.how == CHANGED else f"with {affinity}, {len(service.endpoints)} endpoints"
    return f"{what.how} Service {service.key} {told}"


def _family(what: SyncResult) -> Family:
    return what.services[0].family if what.services else "IPv4"


def _settled_title(what: SyncResult) -> str:
    if not what.states:
        return f"a Service made after the change answers, {what.waited:.2f} s after it"
    told = f"rules in place on {len(what.seconds)} of {len(what.differences)} nodes"
    late = [name for name in what.differences if name not in what.seconds]
    return f"{told}: {what.latency()}" + (f"; not on {', '.join(late)}" if late else "")


def _nodes(states: Mapping[str, object]) -> str:
    return next(iter(states)) if len(states) == 1 else f"{len(states)} nodes"


def _conclusion(what: Conclusion) -> str:
    verdict = what.verdict
    return f"holds: {verdict.headline}" if verdict.ok else verdict.explain(what.claim).splitlines()[0]


def _condensed(made: Sequence[ReportStep]) -> list[ReportStep]:
    """Return at most ten steps: first neighbours of a phase become one, then all but the first and the last ones."""
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
    phase = run[0].phase if len({one.phase for one in run}) == 1 else Phase.OBSERVE
    title = f"{phase}: {len(run)} steps, the last: {run[-1].title.removeprefix(f'{run[-1].phase}: ')}"
    return ReportStep(phase, title, run[0].began, run[-1].ended, steps=tuple(run), ok=all(one.ok for one in run))
