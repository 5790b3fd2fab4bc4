"""Work in the background while other tests run: it observes and does not judge."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

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
