"""Signal handling around a cluster that outlives this process: always remove it, and never stop halfway."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_MOST_DEFERRED: Final = 2


def sigterm_as_interrupt() -> contextlib.AbstractContextManager[None]:
    """Treat SIGTERM (sent by CI when it cancels a job) like Ctrl-C, so that the cluster is removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return _handling(interrupt, signal.SIGTERM)


def interrupts_ignored(note: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Ignore SIGINT and SIGTERM during a clean-up and call ``note`` with a message instead.

    The block must be short: a clean-up that is interrupted leaves resources behind.
    """

    def ignore(*_: object) -> None:
        note("the cluster is being removed; this takes a few more seconds")

    return _handling(ignore, signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interrupts_deferred(note: Callable[[], None]) -> Iterator[None]:
    """Put SIGINT and SIGTERM off until the block has ended, which then raises KeyboardInterrupt; ``note`` is called.

    The third one is not put off: a clean-up may hang.
    """
    came = 0

    def put_off(*_: object) -> None:
        nonlocal came
        came += 1
        if came > _MOST_DEFERRED:
            raise KeyboardInterrupt
        note()

    try:
        with _handling(put_off, signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        if came:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(handler: Callable[..., None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[signal.Signals, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)
