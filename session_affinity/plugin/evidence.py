"""What a test leaves in the report: what it sees on its way is kept without its doing. For the main thread only."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import recorder
from session_affinity.errors import SuiteError
from session_affinity.plugin.claims import claim_of
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.report.steps import Context, Judged, Noted, Waited, seen_states, steps

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeState
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.recorder import Sighting
    from session_affinity.report.steps import Step
    from session_affinity.scenarios.endpoint_changes.result import Course
    from session_affinity.scenarios.expiry.trials import Trial
    from session_affinity.traffic.answers import Answers
    from session_affinity.verdicts.verdict import Verdict

KEY_NUMBER = "key number"


class Record:
    """What was seen in one test, in order."""

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.names: dict[int, str] = {}
        self.setup = 0
        self.open = True

    def keep(self, sighting: Sighting) -> None:
        """Take down what was seen, until the test has been judged."""
        if self.open:
            self.sightings.append(sighting)

    def note(self, what: object, *, since: float | None = None) -> None:
        """Take down something of the test's own."""
        now = time.time()
        self.keep(recorder.Sighting(what, now if since is None else since, now))

    def knows(self, service: ServiceState) -> bool:
        """Whether the objects of a Service are in it as they are now."""
        stored = [one.what for one in self.sightings if isinstance(one.what, recorder.Stored)]
        known = {(one.key, one.session_affinity, one.timeout_seconds) for what in stored for one in what.services}
        return (service.key, service.session_affinity, service.timeout_seconds) in known


RECORD = pytest.StashKey[Record]()


class Evidence:
    """Attaches observations to the report of one test, and its key number to its line of output.

    Requests, reads of nodes, and changes of Services are kept without being named here; what is named gets its name.
    """

    def __init__(self, properties: list[tuple[str, object]], services: Services, record: Record | None = None) -> None:
        self._properties = properties
        self._services = services
        self._record = record or Record()
        self._failed = False

    def key_number(self, text: str) -> None:
        """Say in a few words, with its unit, how the test went; of a verdict that fails the figure stays."""
        if self._failed:
            return
        self._properties[:] = [*(one for one in self._properties if one[0] != KEY_NUMBER), (KEY_NUMBER, text)]

    def verdict(self, verdict: Verdict) -> None:
        """Keep a verdict in words, its figure as the key number, and the objects of the Service it is about."""
        self.key_number(verdict.figure)
        self._failed = not verdict.ok
        if verdict.service is not None:
            self.objects(verdict.service)
        self._record.note(Judged(verdict))

    def text(self, name: str, text: str) -> None:
        """Keep a text."""
        self._record.note(Noted(name, text))

    def answers(self, name: str, answers: Answers) -> None:
        """Name a round of requests; one that was not seen being sent is kept as a table."""
        self._record.names[id(answers)] = name
        seen = [one.what for one in self._record.sightings]
        if not any(isinstance(one, recorder.Asked) and one.answers is answers for one in seen):
            self._record.note(recorder.Asked("the client", "", "", answers))

    def trials(self, trials: Sequence[Trial]) -> None:
        """Keep trials of the shared wait as a table and a picture."""
        self._record.note(Waited(tuple(trials)))

    def course(self, course: Course) -> None:
        """Keep what a client saw of a Service from change to change, and what the nodes held meanwhile."""
        self._record.note(course)

    def objects(self, *services: ServiceState) -> None:
        """Keep Services and their EndpointSlices as the API has them; those that were seen being stored are there."""
        if not self._record.open or self._services is None:
            return
        for service in services:
            if not self._record.knows(service):
                since = time.time()
                # Evidence decides nothing: what cannot be had is said, and the verdict stands.
                try:
                    stored, slices = self._services.stored(service)
                    read = recorder.Stored((service,), (stored,), tuple(slices), recorder.READ)
                    self._record.note(read, since=since)
                except SuiteError as error:
                    self._record.note(Noted(f"{service.key} as served", f"not to be had: {error.what}"), since=since)


@pytest.fixture
def evidence(request: pytest.FixtureRequest, services: Services) -> Evidence:
    """What this test leaves in the report."""
    # pytest's record_property would warn of JUnit's default format, which has these properties all the same.
    return Evidence(request.node.user_properties, services, request.node.stash.get(RECORD, None))


def wanted(config: pytest.Config) -> bool:
    """Whether evidence is to be kept: there is a report to keep it in, and nobody said otherwise."""
    return bool(config.getoption("allure_report_dir", default=None)) and config.getoption("--evidence") != "none"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep what the test sees."""
    record = Record()
    record.open = wanted(item.config) and claim_of(item) is not None
    item.stash[RECORD] = record
    with recorder.kept_by(record if record.open else None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Leave out what is seen while things are made that the whole run shares: it is not the first test's."""
    with contextlib.nullcontext() if fixturedef.scope == "function" else recorder.untold():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Note where the set-up ends."""
    if record := item.stash.get(RECORD, None):
        record.setup = len(record.sightings)
    return (yield)


def close(item: pytest.Item, *, failed: bool) -> tuple[Step, ...]:
    """End the record of a test, and return it as steps of the report; after a failure every node is looked at."""
    record, known = item.stash[RECORD], item.config.stash[RUN_FACTS]
    if not record.open:
        return ()
    if failed and known.nodes:
        # Evidence decides nothing: a node that cannot be read now is no other failure.
        with contextlib.suppress(SuiteError):
            known.nodes.read()
    record.open = False
    known.remember(seen_states(one.what) for one in record.sightings)
    context = Context(known.proxy, _rates(known.nodes, record.sightings), record.names)
    told = steps(record.sightings, context, record.setup)
    # Rules of many nodes, read many times: kept to the end of the run they would be most of its memory.
    record.sightings.clear()
    return told


def _rates(nodes: Nodes | None, sightings: Sequence[Sighting]) -> Mapping[str, int]:
    """Return the tick rates of the nodes that remember someone: ages are told in them."""
    holding = {state.node for one in sightings for state in seen_states(one.what).values() if _remembers(state)}
    rates: dict[str, int] = {}
    for name in holding if nodes else ():
        with contextlib.suppress(SuiteError), recorder.untold():
            rates[name] = nodes.hz(name) if nodes else 0
    return rates


def _remembers(state: NodeState) -> bool:
    return any(one.entries for one in state.lists.values())
