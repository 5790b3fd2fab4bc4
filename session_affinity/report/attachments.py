"""Observations as attachments of the report's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.model import SERVICE_NAME_LABEL
from session_affinity.report import pictures
from session_affinity.report.attachment import Attachment, MediaType, shortened
from session_affinity.report.rule_diffs import rules_diff
from session_affinity.report.tables import affinity_stores
from session_affinity.scenarios.expiry.trials import table
from session_affinity.traffic.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.recorder import Conclusion, ServiceStored
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult
    from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients
    from session_affinity.scenarios.expiry.trials import Trial

ENTRIES: Final = "affinity entries, with ages"
LIFELINES: Final = "how long each client stayed on its endpoint"
BY_STEP: Final = "answers by step"
# PyYAML's dumper in C, where it is installed, is ten times as fast.
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def objects(stored: ServiceStored, keys: Iterable[str]) -> tuple[Attachment, ...]:
    """Return the Services of these keys with their EndpointSlices, as YAML of the API's objects."""
    pairs = [pair for pair in zip(stored.services, stored.objects, strict=True) if pair[0].key in keys]
    return tuple(
        Attachment(f"{service.key} as served", yaml_of((document, *_slices_of(service, stored))), MediaType.YAML)
        for service, document in pairs
    )


def yaml_of(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return API objects as YAML without managedFields."""
    bare = [{**document, "metadata": _without_managed_fields(document["metadata"])} for document in documents]
    return shortened(yaml.dump_all(bare, Dumper=_DUMPER, sort_keys=False))


def affinity_entries(
    configs: ProxyConfigs | None,
    services: Iterable[ServiceState],
    states: Mapping[str, NodeSnapshot],
    hz: Mapping[str, int],
) -> tuple[Attachment, ...]:
    """Return the affinity entries of nodes for Services as a table; nothing where there are none."""
    backend = BACKENDS.get(configs.mode) if configs else None
    text = affinity_stores(backend, services, states, hz) if backend else ""
    return (Attachment(ENTRIES, text, MediaType.CSV),) if text else ()


def rules(
    configs: ProxyConfigs | None,
    services: Iterable[ServiceState],
    states: Mapping[str, NodeSnapshot],
    *,
    thorough: bool,
) -> tuple[Attachment, ...]:
    """Return the expected and the actual rules of Services (``thorough``: see ``rules_diff``)."""
    backend = BACKENDS.get(configs.mode) if configs else None
    if backend is None or configs is None:
        return ()
    diffs = ((service.key, rules_diff(backend, service, configs, states, thorough=thorough)) for service in services)
    return tuple(Attachment(f"rules of {key}, expected and seen", shortened(text)) for key, text in diffs if text)


def answers(name: str, title: str, answers: Answers, services: Mapping[str, str]) -> tuple[Attachment, ...]:
    """Return requests as a table, and as a picture where there are several; ``services`` are names by target."""
    csv = Attachment(name, shortened(answers.csv()), MediaType.CSV)
    if len(answers) < 2:
        return (csv,)
    return (Attachment(name, pictures.timeline(title, answers, services), MediaType.SVG), csv)


def trials(trials: Sequence[Trial]) -> tuple[Attachment, ...]:
    """Return trials of the shared wait as a table, and as a picture where one scale fits all of them."""
    csv = Attachment("trials", table(trials), MediaType.CSV)
    timeouts = {trial.service.timeout_seconds for trial in trials}
    if len(timeouts) != 1 or not all(len(trial.contacts) > 1 for trial in trials):
        return (csv,)
    timeout = float(timeouts.pop() or 0)
    title = f"{len(trials)} clients, silent before their last request; timeoutSeconds {timeout:g}"
    return (_lifelines(title, [pictures.lifetime(trial) for trial in trials], timeout), csv)


def silent_clients(silent: SilentClients) -> tuple[Attachment, ...]:
    """Return the clients that were silent until the timeout was over; their last dot is the request after that."""
    read = silent.at_end.uptime or 0.0
    lifetimes = [
        pictures.EntryLifetime(
            service.name,
            (
                (0.0, first.endpoint or pictures.NO_ANSWER),
                (read - (first.not_after or read), probe.endpoint or pictures.NO_ANSWER),
            ),
        )
        for service, first, probe in zip(silent.services, silent.first, silent.probes, strict=True)
    ]
    timeout = float(silent.services[0].timeout_seconds or 0)
    title = f"{len(lifetimes)} clients, silent until their entries had been read; timeoutSeconds {timeout:g}"
    return (_lifelines(title, lifetimes, timeout),)


def expired_elements(expired: ExpiredElements) -> tuple[Attachment, ...]:
    """Return the one request of each client whose set element was looked for after its timeout, as a table."""
    return (Attachment("requests before the timeout", shortened(Answers(expired.contacts).csv()), MediaType.CSV),)


def scenario(result: ScenarioResult) -> tuple[Attachment, ...]:
    """Return the answers of a client through the steps of a scenario: a picture with a line at each, and a table."""
    csv = Attachment(BY_STEP, shortened(result.csv()), MediaType.CSV)
    by_step = [(*step.during, *step.answers) for step in result.steps]
    everything = Answers(tuple(answer for answers in by_step for answer in answers))
    if len(everything) < 2:
        return (csv,)
    marks, count = [], 0
    for step, answers in zip(result.steps, by_step, strict=True):
        marks.append((count, step.step))
        count += len(answers)
    title = f"{len(everything)} requests to {result.service.name} while its endpoints changed"
    return (Attachment(BY_STEP, pictures.timeline(title, everything, marks=marks), MediaType.SVG), csv)


def conclusion(conclusion: Conclusion) -> tuple[Attachment, ...]:
    """Return the explanation of a verdict that does not hold, and the picture of a distribution."""
    verdict = conclusion.verdict
    attachments = [] if verdict.ok else [Attachment("verdict", shortened(verdict.explain(conclusion.claim)))]
    if verdict.spread is not None:
        picture = pictures.spread("answers by endpoint", verdict.spread)
        attachments.append(Attachment("distribution of answers", picture, MediaType.SVG))
    return tuple(attachments)


def _slices_of(service: ServiceState, stored: ServiceStored) -> list[Mapping[str, Any]]:
    labelled = ((piece, piece["metadata"].get("labels", {})) for piece in stored.slices)
    return [piece for piece, labels in labelled if labels.get(SERVICE_NAME_LABEL) == service.name]


def _without_managed_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name != "managedFields"}


def _lifelines(title: str, lifetimes: Sequence[pictures.EntryLifetime], timeout: float) -> Attachment:
    return Attachment(LIFELINES, pictures.lifelines(title, lifetimes, timeout), MediaType.SVG)
