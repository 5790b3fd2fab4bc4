"""Parts of the suite against what they talk to: shells, curl, servers on loopback, pytest itself; no cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.conftest import short_pauses

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["short_pauses"]


@pytest.fixture(scope="session", autouse=True)
def no_other_plugins() -> Iterator[None]:
    """A pytest that a test runs loads the plugins that are named, not all that are installed: that takes longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        yield
