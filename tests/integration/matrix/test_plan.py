"""The plan job of the workflow has a Python and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def test_a_plan_needs_no_package() -> None:
    told = subprocess.run(
        [sys.executable, "-S", "-m", "ci.matrix", "plan", "--event", "pull_request", "--github"],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.startswith("matrix={")
