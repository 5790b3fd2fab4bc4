"""Signals while a cluster that outlives this process is there: ending orderly, and not in the middle of removing it."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def ending_orderly() -> contextlib.AbstractContextManager[None]:
    """Let SIGTERM, with which CI ends a job, be what Ctrl-C is; by itself it would leave the cluster behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return _handling(interrupt, signal.SIGTERM)


def uninterrupted(say: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Finish a block whatever signal comes: it is short, and half of it would leave things behind."""

    def insist(*_: object) -> None:
        say("the cluster is being removed: a few seconds more")

    return _handling(insist, signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _handling(handler: Callable[..., None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
