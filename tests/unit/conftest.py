"""Unit tests wait for nothing real: what is polled for is there at once, or never."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTENED: Final = 0.02


def pytest_sessionstart() -> None:
    """What is loaded from here on stays: the garbage collector need not look through it again and again."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What the tests themselves leave is collected again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def short_pauses() -> Iterator[None]:
    """Pauses between two looks at a thing last a fiftieth; deadlines are left alone."""
    pause = time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: pause(seconds * SHORTENED))
        yield
