"""The observations that verdicts are tested with, for what the report makes of them."""

from __future__ import annotations

from tests.unit.verdicts.conftest import world

__all__ = ["world"]
