"""Thousands of stand-in agents on loopback (docs/scale.md)."""

from __future__ import annotations

import pytest

from tests.component.agents.test_scale import require
from tests.scale.measure import kinds_of, measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("count", [1000, 5000])
def test_thousands_of_agents_are_asked_over_one_connection(count: int) -> None:
    kinds = kinds_of(count)

    require(measure(kinds, late_seconds=60.0), kinds)
