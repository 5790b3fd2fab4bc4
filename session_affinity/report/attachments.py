"""Observations as attachments: what a step of the report has to look at."""

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

    from session_affinity.claims import Claim
    from session_affinity.dataplane.model import ProxyConfig, ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.recorder import ServiceStored
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult
    from session_affinity.scenarios.expiry.shared_wait import SilentClients
    from session_affinity.scenarios.expiry.trials import Trial
    from session_affinity.verdicts.verdict import Verdict

# The one in C is ten times as quick, where it is there.
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def objects(what: ServiceStored, keys: Iterable[str]) -> tuple[Attachment, ...]:
    """Return the Services of these keys with their EndpointSlices, as the API has them."""
    pairs = [pair for pair in zip(what.services, what.objects, strict=True) if pair[0].key in keys]
    return tuple(
        Attachment(f"{service.key} as served", yaml_of((stored, *_own(what.slices, service))), MediaType.YAML)
        for service, stored in pairs
    )


def yaml_of(served: Iterable[Mapping[str, Any]]) -> str:
    """Return objects of the API without the record of who manages which field."""
    bare = [
        {**one, "metadata": {name: value for name, value in one["metadata"].items() if name != "managedFields"}}
        for one in served
    ]
    return shortened(yaml.dump_all(bare, Dumper=_DUMPER, sort_keys=False))


def affinity_entries(
    proxy: ProxyConfig | None,
    services: Iterable[ServiceState],
    states: Mapping[str, NodeSnapshot],
    hz: Mapping[str, int],
) -> tuple[Attachment, ...]:
    """Return whom nodes remember for Services."""
    backend = BACKENDS.get(proxy.mode) if proxy else None
    text = affinity_stores(backend, services, states, hz) if backend else ""
    return (Attachment("clients remembered, ages computed", text, MediaType.CSV),) if text else ()


def rules(
    proxy: ProxyConfig | None, services: Iterable[ServiceState], states: Mapping[str, NodeSnapshot], *, thorough: bool
) -> tuple[Attachment, ...]:
    """Return the rules of Services, as expected and as seen (``thorough``: see ``rules_diff``)."""
    backend = BACKENDS.get(proxy.mode) if proxy else None
    if backend is None or proxy is None:
        return ()
    diffs = ((service.key, rules_diff(backend, service, proxy, states, thorough=thorough)) for service in services)
    return tuple(Attachment(f"rules of {key}, expected and seen", shortened(text)) for key, text in diffs if text)


def answers(name: str, title: str, seen: Answers, services: Mapping[str, str]) -> tuple[Attachment, ...]:
    """Return requests as a picture, if there are several, and as a table; ``services`` are names by target."""
    csv = Attachment(name, shortened(seen.csv()), MediaType.CSV)
    if len(seen) < 2:
        return (csv,)
    return (Attachment(name, pictures.timeline(title, seen, services), MediaType.SVG), csv)


def trials(seen: Sequence[Trial]) -> tuple[Attachment, ...]:
    """Return trials of the shared wait as a picture, if all can be drawn on one scale, and as a table."""
    csv = Attachment("trials", table(seen), MediaType.CSV)
    timeouts = {one.service.timeout_seconds for one in seen}
    if len(timeouts) != 1 or not all(len(one.contacts) > 1 for one in seen):
        return (csv,)
    timeout = float(timeouts.pop() or 0)
    title = f"{len(seen)} clients, silent before their last request; timeoutSeconds {timeout:g}"
    return (_lifelines(title, [pictures.life(one) for one in seen], timeout), csv)


def rest(seen: SilentClients) -> tuple[Attachment, ...]:
    """Return the clients that were silent until the timeout was over; their last dot is the request after that."""
    read = seen.at_end.uptime or 0.0
    lives = [
        pictures.EntryLifetime(
            service.name,
            ((0.0, first.endpoint or "no answer"), (read - (first.not_after or read), probe.endpoint or "no answer")),
        )
        for service, first, probe in zip(seen.services, seen.first, seen.probes, strict=True)
    ]
    timeout = float(seen.services[0].timeout_seconds or 0)
    title = f"{len(lives)} clients, asked again only when what remembers them had been read; timeoutSeconds {timeout:g}"
    return (_lifelines(title, lives, timeout),)


def course(seen: ScenarioResult) -> tuple[Attachment, ...]:
    """Return what a client saw of a Service from change to change: a picture with a line at each, and a table."""
    csv = Attachment("answers by stage", shortened(seen.csv()), MediaType.CSV)
    asked = [(*stage.during, *stage.answers) for stage in seen.stages]
    everything = Answers(tuple(one for part in asked for one in part))
    if len(everything) < 2:
        return (csv,)
    marks, count = [], 0
    for stage, part in zip(seen.stages, asked, strict=True):
        marks.append((count, stage.change))
        count += len(part)
    title = f"{len(everything)} requests to {seen.service.name} while its endpoints changed"
    return (Attachment("answers by stage", pictures.timeline(title, everything, marks=marks), MediaType.SVG), csv)


def judgement(verdict: Verdict, claim: Claim) -> tuple[Attachment, ...]:
    """Return a verdict that does not hold in words, and the picture of a spread."""
    found = [] if verdict.ok else [Attachment("verdict", shortened(verdict.explain(claim)))]
    if verdict.spread is not None:
        found.append(Attachment("spread", pictures.spread("answers by endpoint", verdict.spread), MediaType.SVG))
    return tuple(found)


def _own(slices: Iterable[Mapping[str, Any]], service: ServiceState) -> list[Mapping[str, Any]]:
    return [one for one in slices if one["metadata"].get("labels", {}).get(SERVICE_NAME_LABEL) == service.name]


def _lifelines(title: str, lives: Sequence[pictures.EntryLifetime], timeout: float) -> Attachment:
    return Attachment("who was kept how long", pictures.lifelines(title, lives, timeout), MediaType.SVG)
