"""Many stand-in agents on loopback: what they cost the suite, and that the few odd ones are found."""

from __future__ import annotations

import pytest

from tests.scale.measure import OPEN_FILES, Measured, kinds_of, measure
from tests.scale.stand_ins import Kind

pytestmark = pytest.mark.unit

MOST_BYTES = 2000
"""Bytes a node and reading through the API server, both ways."""
MOST_MEGABYTES = 300.0


def require(measured: Measured, kinds: dict[str, Kind]) -> None:
    """Check what came of the last readings, when agents that are late or gone are known."""
    odd = {Kind.LATE, Kind.GONE, Kind.LYING, Kind.STALE}
    missing = {name for name, kind in kinds.items() if kind in odd}
    different = {name for name, kind in kinds.items() if kind is Kind.DIFFERENT}
    for reading in measured.readings:
        assert reading.judged.missing.keys() == missing, dict(reading.judged.missing)
        assert {name for name, found in reading.judged.readable.items() if found.differences} == different
        assert len(reading.judged.readable) == measured.nodes - len(missing)
        assert reading.bytes_per_node(measured.nodes) <= MOST_BYTES
    assert measured.files < OPEN_FILES / 10
    assert measured.memory < MOST_MEGABYTES


def test_forty_agents_are_asked_over_one_connection() -> None:
    kinds = kinds_of(40, few=2)

    require(measure(kinds, readings=2, late_seconds=6.0), kinds)
