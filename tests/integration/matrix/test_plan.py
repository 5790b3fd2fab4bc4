"""The workflow's job plan runs on a bare Python, without any package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def test_a_plan_needs_no_package() -> None:
    plan = subprocess.run(
        [sys.executable, "-S", "-m", "ci.matrix", "plan", "--event", "pull_request", "--github"],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert plan.stdout.startswith("matrix={")
