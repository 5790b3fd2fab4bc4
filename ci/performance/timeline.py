"""A pytest plugin that notes when each fixture and claim of a run begins and ends, and what it waits for meanwhile.

Only the thread that runs the tests is measured: what others do while it works costs no time.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

FILE: Final = "SESSION_AFFINITY_TIMELINE"
"""The environment variable with the file to which the spans are written, as JSON."""
WAITS: Final = {
    "nodes in sync": ("session_affinity.testbed.testbed", "Testbed", "wait_for_sync"),
    "endpoints": ("session_affinity.cluster_objects.services", "Services", "wait_for_endpoints"),
    "creation": ("session_affinity.cluster_objects.services", "Services", "create_all"),
    "commands in pods": ("session_affinity.kube.api", "Api", "run"),
    "requests to the API": ("session_affinity.kube.api", "Api", "_send"),
    "reads of nodes": ("session_affinity.nodes.nodes", "Nodes", "_at_all"),
    "commands on nodes": ("session_affinity.nodes.nodes", "Nodes", "_run"),
    "steps of the report": ("session_affinity.plugin.evidence", "", "close"),
}
"""The functions in which the tests wait, by what they wait for; the outermost counts."""


@dataclass
class Span:
    """A fixture, or a part of a claim's test, without the shared fixtures inside it.

    ``began`` is in seconds of ``time.time()``. ``seconds`` is the duration, ``processor`` the seconds that the thread
    computed, ``waits`` the seconds that it spent in each of ``WAITS``.
    """

    name: str
    part: str
    began: float
    seconds: float = 0.0
    processor: float = 0.0
    waits: dict[str, float] = field(default_factory=dict)


class Timeline:
    """The spans of a run; nested spans take their time from the one around them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.calls: Counter[str] = Counter()
        self._open: list[Span] = []
        self._main = threading.main_thread()
        self._waiting = False

    @contextmanager
    def span(self, name: str, part: str) -> Iterator[None]:
        """Measure the block."""
        span = Span(name, part, time.time())
        wall, processor = time.monotonic(), time.thread_time()
        waiting, self._waiting = self._waiting, False
        self._open.append(span)
        try:
            yield
        finally:
            seconds, computed = time.monotonic() - wall, time.thread_time() - processor
            self._open.pop()
            self._waiting = waiting
            span.seconds += seconds
            span.processor += computed
            self.spans.append(span)
            if self._open:
                self._open[-1].seconds -= seconds
                self._open[-1].processor -= computed

    def waits(self, what: str, function: Any) -> Any:
        """Return a function that counts its calls, and its duration as waiting where nothing else does already."""

        @functools.wraps(function)
        def measured(*args: Any, **options: Any) -> Any:
            self.calls[what] += 1
            if threading.current_thread() is not self._main or self._waiting or not self._open:
                return function(*args, **options)
            span, began, self._waiting = self._open[-1], time.monotonic(), True
            try:
                return function(*args, **options)
            finally:
                self._waiting = False
                span.waits[what] = span.waits.get(what, 0.0) + time.monotonic() - began

        return measured


TIMELINE: Final = Timeline()


def pytest_configure() -> None:
    """Measure the functions that wait."""
    for what, (module, owner, name) in WAITS.items():
        place: Any = importlib.import_module(module)
        place = getattr(place, owner) if owner else place
        setattr(place, name, TIMELINE.waits(what, getattr(place, name)))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Measure fixtures that tests share."""
    if fixturedef.scope == "function":
        return (yield)
    with TIMELINE.span(fixturedef.argname, "fixture"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Measure the set-up of a test."""
    with TIMELINE.span(_name(item), "set-up"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Measure a test."""
    with TIMELINE.span(_name(item), "test"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Measure the end of a test; that of the last one ends all fixtures, the cluster too."""
    with TIMELINE.span(_name(item) if nextitem else "end of all fixtures", "end"):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Write the spans."""
    measured = {"calls": TIMELINE.calls, "spans": [asdict(span) for span in TIMELINE.spans]}
    Path(os.environ[FILE]).write_text(json.dumps(measured))


def _name(item: pytest.Item) -> str:
    marker = item.get_closest_marker("claim")  # not claim_of: pytest has to load the suite's plugins itself
    return str(marker.args[0].id) if marker else item.name
