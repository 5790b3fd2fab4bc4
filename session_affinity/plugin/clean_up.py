"""Clean-up goes on through interrupts: where it was cut short, what a run created would stay on the cluster.

pytest leaves out the remaining finalizers of a fixture's scope when a KeyboardInterrupt ends one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.interrupts import interrupts_deferred, interrupts_ignored
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.session import uncaptured

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End the run by an interrupt only when the fixtures have cleaned up."""
    with interrupts_deferred(lambda: _note(item.config)):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Ignore further interrupts while the fixtures of an interrupted run clean up."""
    with interrupts_ignored(lambda _: _note(session.config)):
        return (yield)


def _note(config: pytest.Config) -> None:
    facts = config.stash.get(RUN_FACTS, None)
    if facts is not None and facts.progress is not None:
        with uncaptured(config):
            facts.progress.note("what the run created is being removed: a few seconds more")
