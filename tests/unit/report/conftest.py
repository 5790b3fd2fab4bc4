"""The observations of the verdicts' tests, for tests of the report."""

from __future__ import annotations

from tests.unit.verdicts.conftest import world

__all__ = ["world"]
