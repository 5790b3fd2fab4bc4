"""The thread of the shared wait: how it ends when it is cancelled, and what it hands over when it fails."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NotReadyError
from session_affinity.scenarios.expiry.shared_wait import CancelledError, SharedWait

pytestmark = pytest.mark.unit


class FakeTestbed:
    """Creates Services as slowly as the test wants, and counts what is done after that."""

    reads_rules = False

    def __init__(self, error: Exception | None = None, **deadlines: float) -> None:
        self.deadlines = Deadlines(**deadlines)
        self.services = self.client = self
        self.creating, self.may_create = threading.Event(), threading.Event()
        self.error = error
        self.syncs = 0
        self.thread = ""

    def create_all(self, requests: list[object]) -> list[object]:
        self.thread = threading.current_thread().name
        self.creating.set()
        assert self.may_create.wait(5)
        if self.error:
            raise self.error
        return requests

    def wait_for_sync(self, *_: object, **__: object) -> Any:
        self.syncs += 1
        raise ClusterError("not reached")


def started(testbed: Any) -> SharedWait:
    return SharedWait(testbed).start()


def test_cancelling_waits_for_the_thread_which_takes_no_further_step() -> None:
    testbed = FakeTestbed()
    wait = started(testbed)
    assert testbed.creating.wait(5)
    threading.Timer(0.02, testbed.may_create.set).start()

    wait.cancel()

    assert wait._observer is not None
    assert not wait._observer.is_alive()
    assert testbed.syncs == 0
    with pytest.raises(CancelledError, match="before this step: wait until the client's node has the Services"):
        wait.result()


def test_cancelling_does_not_wait_for_ever() -> None:
    testbed = FakeTestbed(shared_wait_cancel=0.01)
    wait = started(testbed)
    assert testbed.creating.wait(5)

    wait.cancel()

    testbed.may_create.set()


def test_threads_are_named_for_what_they_do() -> None:
    testbed = FakeTestbed()
    testbed.may_create.set()
    wait = started(testbed)

    with pytest.raises(ClusterError, match="not reached"):
        wait.result()
    assert testbed.thread == "expiry-observer"


def test_what_the_thread_raises_is_raised_by_the_result() -> None:
    testbed = FakeTestbed(ClusterError("no Services"))
    testbed.may_create.set()

    with pytest.raises(ClusterError, match="no Services"):
        started(testbed).result()


def test_a_wait_that_takes_too_long_names_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.scenarios.expiry.shared_wait.LEAST_SECONDS", 0.01)
    testbed = FakeTestbed(shared_wait_overtime=-100)
    wait = started(testbed)

    with pytest.raises(NotReadyError, match="last state: create the Services"):
        wait.result()
    testbed.may_create.set()
