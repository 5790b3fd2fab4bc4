"""Keeps what each test observes, for the report: requests, node reads and API changes are recorded automatically.

Main thread only; see ``recorder``.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import recorder
from session_affinity.errors import SuiteError
from session_affinity.plugin.claims import claim_of
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.report.steps import Context, seen_states, steps

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.recorder import Event
    from session_affinity.report.steps import ReportStep


class TestRecord:
    """The events of one test, in order. ``open`` while events are kept, which is until the test has been judged."""

    __test__ = False

    def __init__(self, *, is_open: bool = True) -> None:
        self.events: list[Event] = []
        self.setup = 0
        self.open = is_open

    def keep(self, event: Event) -> None:
        """Keep an event while the record is open."""
        if self.open:
            self.events.append(event)

    def note(self, what: object, *, since: float | None = None) -> None:
        """Keep an observation that began at ``since``, in seconds since the epoch, or now."""
        now = time.time()
        self.keep(recorder.Event(what, now if since is None else since, now))

    def has_objects_of(self, service: ServiceState) -> bool:
        """Return whether the record has a Service's objects with its present affinity and timeout."""
        stored = [event.what for event in self.events if isinstance(event.what, recorder.ServiceStored)]
        known = {(one.key, one.session_affinity, one.timeout_seconds) for what in stored for one in what.services}
        return (service.key, service.session_affinity, service.timeout_seconds) in known


RECORD = pytest.StashKey[TestRecord]()


def is_wanted(config: pytest.Config) -> bool:
    """Return whether evidence is kept: there is a report to keep it in, and ``--evidence`` is not ``none``."""
    return bool(config.getoption("allure_report_dir", default=None)) and config.getoption("--evidence") != "none"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record the events of a claim's test."""
    record = item.stash[RECORD] = TestRecord(is_open=is_wanted(item.config) and claim_of(item) is not None)
    with recorder.recording_to(record if record.open else None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Suppress recording while fixtures of the whole run are set up: they are not the first test's evidence."""
    with contextlib.nullcontext() if fixturedef.scope == "function" else recorder.suppressed():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Note how many events belong to the set-up."""
    if record := item.stash.get(RECORD, None):
        record.setup = len(record.events)
    return (yield)


def close(item: pytest.Item, *, failed: bool) -> tuple[ReportStep, ...]:
    """Close a test's record and return it as steps of the report; after a failure every node is read first."""
    record, known = item.stash[RECORD], item.config.stash[RUN_FACTS]
    if not record.open:
        return ()
    if failed and known.nodes:
        # Evidence decides nothing: a node that cannot be read now is no other failure.
        with contextlib.suppress(SuiteError):
            known.nodes.read()
    record.open = False
    known.remember(seen_states(event.what) for event in record.events)
    context = Context(known.proxy, _tick_rates(known.nodes, record.events))
    found = steps(record.events, context, record.setup)
    # Rules of many nodes, read many times: kept to the end of the run they would be most of its memory.
    record.events.clear()
    return found


def _tick_rates(nodes: Nodes | None, events: Sequence[Event]) -> Mapping[str, int]:
    """Return the tick rates of the nodes that hold recent-list entries: their ages are computed with them."""
    holding = {state.node for event in events for state in seen_states(event.what).values() if _has_entries(state)}
    rates: dict[str, int] = {}
    for name in holding if nodes else ():
        with contextlib.suppress(SuiteError), recorder.suppressed():
            rates[name] = nodes.hz(name) if nodes else 0
    return rates


def _has_entries(state: NodeSnapshot) -> bool:
    return any(entries.entries for entries in state.lists.values())
