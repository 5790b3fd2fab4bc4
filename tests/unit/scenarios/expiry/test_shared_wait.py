"""The thread of the shared wait: its end when it is cancelled, and its result when it fails."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NotReadyError
from session_affinity.scenarios.expiry.shared_wait import CancelledError, SharedWait

pytestmark = pytest.mark.unit


class FakeTestbed:
    """Creates Services when the test lets it, and counts the syncs after that."""

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

    def wait_for_client_sync(self, *_: object, **__: object) -> Any:
        self.syncs += 1
        raise ClusterError("not reached")


def started(testbed: Any) -> SharedWait:
    return SharedWait(testbed, Future()).start()


def test_cancelling_waits_for_the_end_of_the_thread_before_its_next_step() -> None:
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


def test_the_wait_for_a_cancelled_thread_has_a_deadline() -> None:
    testbed = FakeTestbed(shared_wait_cancel=0.01)
    wait = started(testbed)
    assert testbed.creating.wait(5)

    wait.cancel()

    testbed.may_create.set()


def test_the_observing_thread_has_its_name() -> None:
    testbed = FakeTestbed()
    testbed.may_create.set()
    wait = started(testbed)

    with pytest.raises(ClusterError, match="not reached"):
        wait.result()
    assert testbed.thread == "expiry-observer"


def test_the_result_raises_the_exception_of_the_thread() -> None:
    testbed = FakeTestbed(ClusterError("no Services"))
    testbed.may_create.set()

    with pytest.raises(ClusterError, match="no Services"):
        started(testbed).result()


def test_the_error_of_a_late_wait_names_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.scenarios.expiry.shared_wait.LEAST_SECONDS", 0.01)
    testbed = FakeTestbed(shared_wait_overtime=-100)
    wait = started(testbed)

    with pytest.raises(NotReadyError, match="last state: create the Services"):
        wait.result()
    testbed.may_create.set()
