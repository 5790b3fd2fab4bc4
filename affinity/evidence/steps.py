"""What was seen in a test, as a few steps that read as arrange, observe, judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import yaml

from affinity.dataplane.plugs import PLUGS
from affinity.evidence import pictures
from affinity.evidence.attachment import Attachment, Kind, shortened
from affinity.evidence.rules import has_rules, rules_diff
from affinity.evidence.tables import memories
from affinity.expiry.trials import table
from affinity.expiry.wait import Rest
from affinity.observed import CHANGED, READ, Asked, Did, Looked, Stored
from affinity.programming import Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.model import Family, ProxyConfig, ServiceState
    from affinity.expiry.trials import Trial
    from affinity.observed import Sighting
    from affinity.traffic.answers import Answers
    from affinity.verdicts.verdict import Verdict

MOST_STEPS: Final = 10
MOST_SERVICES: Final = 4
"""Of how many Services of a test rules, lists and objects are shown."""


# The one in C is ten times as quick, where it is there.
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Phase(StrEnum):
    """What a step is for."""

    ARRANGE = "Arrange"
    OBSERVE = "Observe"
    JUDGE = "Judge"


@dataclass(frozen=True)
class Waited:
    """Trials of the shared wait."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Noted:
    """A text of the test's own."""

    name: str
    text: str


@dataclass(frozen=True)
class Judged:
    """What the test concluded."""

    verdict: Verdict


@dataclass(frozen=True)
class Step:
    """A line of the report, with what belongs to it; times are seconds since the epoch."""

    phase: Phase
    title: str
    began: float
    ended: float
    attachments: tuple[Attachment, ...] = ()
    steps: tuple[Step, ...] = ()
    ok: bool = True


@dataclass(frozen=True)
class Context:
    """What is known of the cluster: how its kube-proxy is set, and the tick rates of nodes.

    ``names`` are those that a test gave its rounds of requests.
    """

    proxy: ProxyConfig | None = None
    hz: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


def steps(sightings: Sequence[Sighting], context: Context, setup: int = 0) -> tuple[Step, ...]:
    """Return what was seen as steps, ten at most on the first level; the first ``setup`` sightings are the set-up's."""
    reading = _Reading(sightings, context)
    made = [
        one for place, sighting in enumerate(sightings) for one in reading.steps(place, sighting, setup=place < setup)
    ]
    return tuple(_condensed(made))


def seen_states(what: object) -> Mapping[str, NodeState]:
    """Return the nodes that a sighting holds."""
    return what.states if isinstance(what, (Looked, Settled)) else {}


class _Reading:
    """Goes through the sightings, knowing which Services the test is about and how they are at each moment."""

    def __init__(self, sightings: Sequence[Sighting], context: Context) -> None:
        self._context = context
        verdicts = [one.what.verdict for one in sightings if isinstance(one.what, Judged)]
        judged = [one.service for one in verdicts]
        self._failed = not verdicts or not all(one.ok for one in verdicts)
        stored = [service for one in sightings if isinstance(one.what, Stored) for service in one.what.services]
        settled = [service for one in sightings if isinstance(one.what, Settled) for service in one.what.services]
        about = [*filter(None, judged), *stored] or settled
        self._services = {(service.key, service.family): service for service in reversed(about)}
        self._about = list(dict.fromkeys(service.key for service in about))[:MOST_SERVICES]
        readings = [place for place, one in enumerate(sightings) if _has_rules(one.what)]
        self._judged = max((place for place, one in enumerate(sightings) if isinstance(one.what, Judged)), default=None)
        before = [place for place in readings if self._judged is None or place < self._judged]
        late = [place for place, one in enumerate(sightings) if isinstance(one.what, Settled) and one.what.late]
        # The rules that were judged, those that never came right, and those that were found when it had failed.
        self._with_rules = {*late, *readings[-1:], *before[-1:]}

    def steps(self, place: int, sighting: Sighting, *, setup: bool) -> Iterator[Step]:
        """Yield the step of a sighting; none where it has nothing to say."""
        what = sighting.what
        attachments: tuple[Attachment, ...] = ()
        ok = True
        done = isinstance(what, Did) or (isinstance(what, Stored) and what.how != READ)
        phase = Phase.ARRANGE if setup or done else Phase.OBSERVE
        match what:
            case Stored():
                self._remember(what.services)
                title, attachments = _stored_title(what), self._objects(what)
            case Settled():
                self._remember(what.services)
                title, attachments = _settled_title(what), self._held(what.states, place, _family(what))
            case Asked():
                title = f"{what.pod} ({what.address}) on {what.node} asks, {what.answers.summary()}"
                attachments = self._answers(what)
            case Looked():
                attachments = self._held(what.states, place, what.family)
                when = "read again after the verdict" if self._judged is not None and place > self._judged else "read"
                title = f"{when}: what {_nodes(what.states)} hold{'s' if len(what.states) == 1 else ''}"
            case Did():
                title = f"{what.where}: {what.what}" if what.where else what.what
            case Waited():
                title, attachments = f"{len(what.trials)} clients of the shared wait", _trials(what.trials)
            case Rest():
                title, attachments = _rest(what)
            case Noted():
                one_line = "\n" not in what.text.strip()
                title = f"{what.name}: {what.text.strip()}" if one_line else what.name
                attachments = () if one_line else (Attachment(what.name, shortened(what.text)),)
            case Judged():
                phase, ok = Phase.JUDGE, what.verdict.ok
                title, attachments = _conclusion(what.verdict), _judgement(what.verdict)
            case _:
                return
        yield Step(phase, f"{phase}: {title}", sighting.began, sighting.ended, attachments, ok=ok)

    def _objects(self, what: Stored) -> tuple[Attachment, ...]:
        pairs = zip(what.services, what.objects, strict=True)
        wanted = [(service, stored) for service, stored in pairs if service.key in self._about]
        return tuple(
            Attachment(f"{service.key} as served", yaml_of((stored, *_own(what.slices, service))), Kind.YAML)
            for service, stored in wanted
        )

    def _remember(self, services: Iterable[ServiceState]) -> None:
        self._services |= {(service.key, service.family): service for service in services}

    def _held(self, states: Mapping[str, NodeState], place: int, family: Family) -> tuple[Attachment, ...]:
        services = [self._services[key, family] for key in self._about if (key, family) in self._services]
        found: list[Attachment] = []
        proxy = self._context.proxy
        dataplane = PLUGS.get(proxy.mode) if proxy else None
        if dataplane is None or proxy is None:
            return ()
        if remembered := memories(dataplane, services, states, self._context.hz):
            found.append(Attachment("clients remembered, ages computed", remembered, Kind.CSV))
        if place in self._with_rules:
            diffs = (
                (service.key, rules_diff(dataplane, service, proxy, states, thorough=self._failed))
                for service in services
            )
            found += [Attachment(f"rules of {key}, expected and seen", shortened(text)) for key, text in diffs if text]
        return tuple(found)

    def _answers(self, what: Asked) -> tuple[Attachment, ...]:
        answers = what.answers
        name = self._context.names.get(id(answers), "answers")
        csv = Attachment(name, shortened(answers.csv()), Kind.CSV)
        if len(answers) < 2:
            return (csv,)
        title = f"{len(answers)} requests from {what.pod} to {self._asked(answers)}"
        return (Attachment(name, pictures.timeline(title, answers, self._names()), Kind.SVG), csv)

    def _names(self) -> dict[str, str]:
        from affinity.services import target

        return {str(target(one)): one.name for one in self._services.values() if one.cluster_ips}

    def _asked(self, answers: Answers) -> str:
        targets = list(dict.fromkeys(str(one.target) for one in answers))
        names = self._names()
        return names.get(targets[0], targets[0]) if len(targets) == 1 else f"{len(targets)} Services"


def yaml_of(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return objects as the API has them, without the record of who manages which field."""
    bare = [
        {**one, "metadata": {name: value for name, value in one["metadata"].items() if name != "managedFields"}}
        for one in objects
    ]
    return shortened(yaml.dump_all(bare, Dumper=_DUMPER, sort_keys=False))


def _has_rules(what: object) -> bool:
    return any(map(has_rules, seen_states(what).values()))


def _own(slices: Iterable[Mapping[str, Any]], service: ServiceState) -> list[Mapping[str, Any]]:
    from affinity.dataplane.model import SERVICE_NAME_LABEL

    return [one for one in slices if one["metadata"].get("labels", {}).get(SERVICE_NAME_LABEL) == service.name]


def _stored_title(what: Stored) -> str:
    if len(what.services) != 1:
        return f"{what.how} {len(what.services)} Services"
    (service,) = what.services
    timeout = f", {service.timeout_seconds} s" if service.timeout_seconds else ""
    affinity = f"sessionAffinity {service.session_affinity}{timeout}"
    told = f"to {affinity}" if what.how == CHANGED else f"with {affinity}, {len(service.endpoints)} endpoints"
    return f"{what.how} Service {service.key} {told}"


def _family(what: Settled) -> Family:
    return what.services[0].family if what.services else "IPv4"


def _settled_title(what: Settled) -> str:
    if not what.states:
        return f"a Service made after the change answers, {what.waited:.2f} s after it"
    told = f"rules in place on {len(what.seconds)} of {len(what.differences)} nodes"
    late = [name for name in what.differences if name not in what.seconds]
    return f"{told}: {what.latency()}" + (f"; not on {', '.join(late)}" if late else "")


def _nodes(states: Mapping[str, object]) -> str:
    return next(iter(states)) if len(states) == 1 else f"{len(states)} nodes"


def _trials(trials: Sequence[Trial]) -> tuple[Attachment, ...]:
    found = Attachment("trials", table(trials), Kind.CSV)
    timeouts = {one.service.timeout_seconds for one in trials}
    if trials and len(timeouts) == 1 and all(len(one.contacts) > 1 for one in trials):
        title = f"{len(trials)} clients, silent before their last request; timeoutSeconds {timeouts.copy().pop()}"
        lives = [pictures.life(one) for one in trials]
        return (_lifelines(title, lives, float(timeouts.pop() or 0)), found)
    return (found,)


def _rest(rest: Rest) -> tuple[str, tuple[Attachment, ...]]:
    """Return the clients that were silent until the timeout was over; their last dot is the request after that."""
    read = rest.at_end.uptime or 0.0
    lives = [
        pictures.Life(
            service.name,
            ((0.0, first.endpoint or "no answer"), (read - (first.not_after or read), probe.endpoint or "no answer")),
        )
        for service, first, probe in zip(rest.services, rest.first, rest.probes, strict=True)
    ]
    timeout = float(rest.services[0].timeout_seconds or 0)
    title = f"{len(lives)} clients, asked again only when what remembers them had been read; timeoutSeconds {timeout:g}"
    return f"{len(lives)} clients that nobody asked meanwhile", (_lifelines(title, lives, timeout),)


def _lifelines(title: str, lives: Sequence[pictures.Life], timeout: float) -> Attachment:
    return Attachment("who was kept how long", pictures.lifelines(title, lives, timeout), Kind.SVG)


def _conclusion(verdict: Verdict) -> str:
    return f"holds: {verdict.figure}" if verdict.ok else verdict.explain().splitlines()[0]


def _judgement(verdict: Verdict) -> tuple[Attachment, ...]:
    found = []
    if not verdict.ok:
        found.append(Attachment("verdict", shortened(verdict.explain())))
    if verdict.spread is not None:
        found.append(Attachment("spread", pictures.spread("answers by endpoint", verdict.spread), Kind.SVG))
    return tuple(found)


def _condensed(made: Sequence[Step]) -> list[Step]:
    """Return at most ten steps: first neighbours of a phase become one, then all but the first and the last ones."""
    if len(made) <= MOST_STEPS:
        return list(made)
    joined = [_joined(list(run)) for _, run in groupby(made, key=lambda step: step.phase)]
    if len(joined) <= MOST_STEPS:
        return joined
    head, tail = 2, MOST_STEPS - 3
    return [*joined[:head], _joined(joined[head:-tail]), *joined[-tail:]]


def _joined(run: Sequence[Step]) -> Step:
    if len(run) == 1:
        return run[0]
    phase = run[0].phase if len({one.phase for one in run}) == 1 else Phase.OBSERVE
    title = f"{phase}: {len(run)} steps, the last: {run[-1].title.removeprefix(f'{run[-1].phase}: ')}"
    return Step(phase, title, run[0].began, run[-1].ended, steps=tuple(run), ok=all(one.ok for one in run))
