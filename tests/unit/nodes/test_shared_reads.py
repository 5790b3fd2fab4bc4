"""Reads that threads share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from session_affinity.nodes.shared_reads import SharedReads
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 5.0


class Reader:
    """Numbers its reads, each of which ends when it is let go on."""

    def __init__(self) -> None:
        self.began = 0
        self.go_on = threading.Semaphore(0)
        self.reads: SharedReads[int] = SharedReads()

    def read(self) -> int:
        return self.reads.read("node", self._read)

    def _read(self) -> int:
        self.began += 1
        number = self.began
        assert self.go_on.acquire(timeout=SECONDS)
        return number


def until(condition: Callable[[], bool]) -> None:
    wait_until(condition, SECONDS, what="the reads", pause=0.01)


def test_who_asks_during_a_read_shares_the_next_one() -> None:
    reader = Reader()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(reader.read)
        until(lambda: reader.began == 1)
        later = [pool.submit(reader.read) for _ in range(3)]
        until(lambda: bool(reader.reads._next))
        reader.go_on.release()
        until(lambda: reader.began == 2)
        # Those that had not asked by then read once more.
        for _ in range(3):
            reader.go_on.release()

        assert first.result(SECONDS) == 1
        assert 2 in {future.result(SECONDS) for future in later}
        assert all(future.result(SECONDS) > 1 for future in later)


def test_one_after_another_nothing_is_shared() -> None:
    reader = Reader()
    for _ in range(2):
        reader.go_on.release()

    assert [reader.read(), reader.read()] == [1, 2]


def test_an_error_is_raised_for_all_that_share_the_read_and_for_no_other() -> None:
    reads: SharedReads[int] = SharedReads()

    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        reads.read("node", fail)
    assert reads.read("node", lambda: 3) == 3


def test_reads_of_different_things_are_not_shared() -> None:
    reads: SharedReads[str] = SharedReads()
    together = threading.Barrier(2)

    def read(name: str) -> str:
        together.wait(SECONDS)
        return name

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda name: reads.read(name, lambda: read(name)), "ab")) == ["a", "b"]
