"""Work in the background while other tests run: it observes and does not judge."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from session_affinity.errors import CancelledError, ClusterError
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_background(name: str, work: Callable[[], T], future: Future[T]) -> threading.Thread:
    """Start a thread that calls ``work`` and sets its result, or its exception, in the future.

    It is a daemon: an interrupted run does not wait for it.
    """

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - future.result() raises it in the thread that calls it
            future.set_exception(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class Background:
    """Work in lanes: that of one lane is done one after another, that of several lanes at the same time.

    ``begin`` is called in each lane first, and returns when it may begin.
    """

    def __init__(self, begin: Callable[[], object] = lambda: None) -> None:
        self.cancelled = threading.Event()
        self._begin = begin
        self._lanes: dict[str, list[tuple[str, Callable[[], object]]]] = defaultdict(list)
        self._results: dict[str, Future[Any]] = {}
        self._threads: list[threading.Thread] = []

    def add(self, lane: str, name: str, work: Callable[[], object]) -> None:
        """Add work to a lane, before the start."""
        self._results[name] = Future()
        self._lanes[lane].append((name, work))

    def fail(self, name: str, error: BaseException) -> None:
        """Note that work could not begin; asking for its result raises the error."""
        self._results[name] = Future()
        self._results[name].set_exception(error)

    def start(self) -> None:
        """Start a thread for each lane."""
        for lane in self._lanes:
            self._threads.append(in_background(lane, partial(self._run, lane), Future()))

    def is_over(self, *names: str) -> bool:
        """Return whether this work, or all of it, is over or was never begun."""
        return all(self._results[name].done() for name in names or self._results if name in self._results)

    def result(self, name: str) -> Any:
        """Return the result of work that is over; raises its exception, and ClusterError when there is none."""
        if name not in self._results:
            raise ClusterError(
                f"{name}: not begun, because no selected test looks at it",
                next_step="add it to the work in fixtures/background.py, by the arguments of the tests that need it",
            )
        return self._results[name].result(timeout=0)

    def wait(self, seconds: float, *names: str) -> None:
        """Wait until this work, or all of it, is over, at most ``seconds``; raises NotReadyError."""

        def last_state() -> str:
            return "not over: " + ", ".join(name for name in names or self._results if not self.is_over(name))

        wait_until(
            lambda: self.is_over(*names),
            seconds,
            what="scenarios in the background",
            last_state=last_state,
            next_step=SLOW_MACHINE,
        )

    def cancel(self, seconds: float) -> None:
        """Begin no more work, and wait until that under way is over, at most ``seconds``."""
        self.cancelled.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _run(self, lane: str) -> None:
        self._begin()
        for name, work in self._lanes[lane]:
            future = self._results[name]
            if self.cancelled.is_set():
                future.set_exception(CancelledError(f"the run ended before this began: {name}"))
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - the fixture that asks for the result raises it
                future.set_exception(error)
