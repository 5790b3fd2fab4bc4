"""Reads that callers share: whoever asks while a read is under way gets the next one, together with all others."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Shares reads of the same thing between threads: at most one is under way, and one more is waited for.

    A caller always gets a read that began after it asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[T]] = {}
        self._next: dict[Hashable, Future[T]] = {}

    def read(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what a read returns, this one or another caller's of the same key; raises its exception."""
        with self._lock:
            before = self._under_way.get(key)
            shared = self._next.get(key) if before else None
            future: Future[T] = shared or Future()
            if shared is None:
                (self._next if before else self._under_way)[key] = future
        if shared is None:
            self._lead(key, read, future, before)
        return future.result()

    def _lead(self, key: Hashable, read: Callable[[], T], future: Future[T], before: Future[T] | None) -> None:
        """Make a read for all that share it, when the one under way has ended."""
        try:
            if before is not None:
                before.exception()  # waits for the end, whatever that is
                with self._lock:
                    self._under_way[key] = self._next.pop(key)
            future.set_result(read())
        except BaseException as error:  # noqa: BLE001 - future.result() raises it in every thread that shares the read
            future.set_exception(error)
        finally:
            with self._lock:
                for reads in (self._under_way, self._next):
                    if reads.get(key) is future:
                        del reads[key]
