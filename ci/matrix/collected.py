"""A plugin of pytest that writes which claims' tests were collected, and which of them are skipped by rule."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ci.matrix.expected import COLLECTED_VARIABLE

if TYPE_CHECKING:
    import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write for each test of a claim the claim's id, whether it is skipped, and the claim's title."""
    from session_affinity.plugin.claims import claim_of

    tests = [
        (claim.id, item.get_closest_marker("skip") is not None, claim.title)
        for item in session.items
        if (claim := claim_of(item))
    ]
    Path(os.environ[COLLECTED_VARIABLE]).write_text(json.dumps(tests), encoding="utf-8")
