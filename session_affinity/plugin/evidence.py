"""Keeps the evidence of each test for the report: requests, node reads and API changes are recorded automatically.

Main thread only; see ``recorder``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import recorder
from session_affinity.errors import SuiteError
from session_affinity.plugin.claims import claim_of
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.report.steps import Context, states_in, steps

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.recorder import Event, Recorded
    from session_affinity.report.steps import ReportStep


class TestRecord:
    """The events of one test, in order; ``open`` says whether events are still kept, as they are until the verdict."""

    __test__ = False

    def __init__(self, *, is_open: bool = True) -> None:
        self.events: list[Event] = []
        self.setup = 0
        self.open = is_open

    def keep(self, event: Event) -> None:
        """Keep an event while the record is open."""
        if self.open:
            self.events.append(event)

    def add(self, observation: Recorded, *, since: float | None = None) -> None:
        """Keep an observation that began at ``since``, in seconds since the epoch, or now."""
        self.keep(recorder.event_of(observation, since=since))

    def has_objects_of(self, service: ServiceState) -> bool:
        """Return whether the record has a Service's objects with its present affinity and timeout."""
        observations = [event.observation for event in self.events]
        stored = [
            state for entry in observations if isinstance(entry, recorder.ServiceStored) for state in entry.services
        ]
        return _affinity_of(service) in map(_affinity_of, stored)


RECORD = pytest.StashKey[TestRecord]()


def is_wanted(config: pytest.Config) -> bool:
    """Return whether evidence is kept: a report is written, and ``--evidence`` is not ``none``."""
    return bool(config.getoption("allure_report_dir", default=None)) and config.getoption("--evidence") != "none"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record the events of a claim's test."""
    record = item.stash[RECORD] = TestRecord(is_open=is_wanted(item.config) and claim_of(item) is not None)
    with recorder.recording_to(record if record.open else None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Suppress recording while shared fixtures are set up: their events are not the evidence of the first test."""
    with contextlib.nullcontext() if fixturedef.scope == "function" else recorder.suppressed():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Note the number of events of the set-up."""
    if record := item.stash.get(RECORD, None):
        record.setup = len(record.events)
    return (yield)


def close(item: pytest.Item, *, failed: bool) -> tuple[ReportStep, ...]:
    """Close a test's record and return it as steps of the report; after a failure every node is read first."""
    record, run = item.stash[RECORD], item.config.stash[RUN_FACTS]
    if not record.open:
        return ()
    if failed and run.nodes:
        # The verdict does not depend on this read, so a node that cannot be read now is not another failure.
        with contextlib.suppress(SuiteError):
            run.nodes.read()
    record.open = False
    run.learn_program(states_in(event.observation) for event in record.events)
    context = Context(run.proxy_configs, _tick_rates(run.nodes, record.events))
    report_steps = steps(record.events, context, record.setup)
    # Snapshots of many nodes, kept to the end of the run, would be most of the memory it uses.
    record.events.clear()
    return report_steps


def _tick_rates(nodes: Nodes | None, events: Sequence[Event]) -> Mapping[str, int]:
    """Return the tick rates of the nodes whose recent lists have entries, to compute the ages of these."""
    states = [state for event in events for state in states_in(event.observation).values()]
    rates: dict[str, int] = {}
    for name in {state.node for state in states if _has_entries(state)} if nodes else ():
        with contextlib.suppress(SuiteError), recorder.suppressed():
            rates[name] = nodes.hz(name) if nodes else 0
    return rates


def _affinity_of(service: ServiceState) -> tuple[str, str, int | None]:
    return service.key, service.session_affinity, service.timeout_seconds


def _has_entries(state: NodeSnapshot) -> bool:
    return not state.rules_only and any(recent.entries for recent in state.lists.values())
