"""Unit tests wait for nothing real: what is polled for is there at once, or never."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTENED: Final = 0.02


@pytest.fixture(scope="module", autouse=True)
def short_pauses(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pauses between two looks at a thing last a fiftieth, except where a module is about how long things take."""
    if getattr(request.module, "MEASURES_TIME", False):
        yield
        return
    pause = time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: pause(seconds * SHORTENED))
        yield
