"""What is loaded before a cluster starts: what takes long to load is loaded while it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
COLLECT: Final = """
import sys
import pytest
code = pytest.main(["--collect-only", "-q", "-m", "C16", "--cluster", "embedded", "suite"])
print("loaded:", sorted({name.partition(".")[0] for name in sys.modules} & {"kubernetes", "requests", "cryptography"}))
sys.exit(code)
"""


def test_the_selection_of_tests_does_without_the_kubernetes_client() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    argv = [sys.executable, "-c", COLLECT]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"
