"""Work in lanes in the background."""

from __future__ import annotations

import threading

import pytest

from session_affinity.errors import CancelledError, ClusterError, NotReadyError
from session_affinity.scenarios.background import Background

SECONDS = 5.0


def test_lanes_go_on_at_the_same_time_and_a_lane_does_one_thing_after_another() -> None:
    background, together, order = Background(), threading.Barrier(2), list[str]()

    def meet(name: str) -> str:
        together.wait(SECONDS)
        order.append(name)
        return name

    background.add("one", "a", lambda: meet("a"))
    background.add("other", "b", lambda: meet("b"))
    background.add("other", "c", lambda: order.append("c"))
    background.start()
    background.wait(SECONDS)

    assert (background.result("a"), background.result("b")) == ("a", "b")
    assert order.index("b") < order.index("c")


def test_nothing_begins_before_it_may() -> None:
    may, done = threading.Event(), threading.Event()
    background = Background(lambda: may.wait(SECONDS))
    background.add("lane", "work", done.set)
    background.start()

    assert not background.is_over("work")
    may.set()
    background.wait(SECONDS, "work")
    assert done.is_set()


def test_an_exception_is_raised_for_who_asks_and_does_not_end_the_lane() -> None:
    background = Background()

    def fail() -> None:
        raise OSError("gone")

    background.add("lane", "failing", fail)
    background.add("lane", "next", lambda: 3)
    background.start()
    background.wait(SECONDS)

    with pytest.raises(OSError, match="gone"):
        background.result("failing")
    assert background.result("next") == 3


def test_what_could_not_begin_raises_its_reason() -> None:
    background = Background()
    background.fail("work", ClusterError("no pods"))
    background.start()
    background.wait(SECONDS)

    with pytest.raises(ClusterError, match="no pods"):
        background.result("work")


def test_what_was_never_added_is_over_and_has_no_result() -> None:
    background = Background()

    assert background.is_over("walk")
    with pytest.raises(ClusterError, match="walk: not begun"):
        background.result("walk")


def test_waiting_ends_at_the_deadline_and_names_what_is_not_over() -> None:
    background, may = Background(), threading.Event()
    background.add("lane", "walk", lambda: may.wait(SECONDS))
    background.start()

    with pytest.raises(NotReadyError, match="not over: walk"):
        background.wait(0.01)
    may.set()
    background.cancel(SECONDS)


def test_when_cancelled_it_ends_what_is_under_way_and_begins_nothing() -> None:
    background, under_way, may = Background(), threading.Event(), threading.Event()

    def work() -> str:
        under_way.set()
        may.wait(SECONDS)
        return "done"

    background.add("lane", "first", work)
    background.add("lane", "second", lambda: "never")
    background.start()
    assert under_way.wait(SECONDS)
    canceller = threading.Thread(target=background.cancel, args=(SECONDS,))
    canceller.start()
    assert background.cancelled.wait(SECONDS)
    may.set()
    canceller.join(SECONDS)

    assert background.result("first") == "done"
    with pytest.raises(CancelledError, match="second"):
        background.result("second")
