"""A pytest plugin that writes down which claims' tests were collected, and which of them a rule skips."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ci.matrix.expectations import COLLECTION_FILE_VARIABLE

if TYPE_CHECKING:
    import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write, for each test of a claim: the claim's id, whether the test is skipped, and the claim's title."""
    from session_affinity.plugin.claims import claim_of

    tests = [
        (claim.id, item.get_closest_marker("skip") is not None, claim.title)
        for item in session.items
        if (claim := claim_of(item))
    ]
    Path(os.environ[COLLECTION_FILE_VARIABLE]).write_text(json.dumps(tests), encoding="utf-8")
