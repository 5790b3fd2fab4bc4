"""The directory in which the suite keeps what outlives a command: state of clusters, leases of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

STATE_VARIABLE: Final = "SESSION_AFFINITY_STATE"
"""The environment variable that names another directory than the user's own."""


def state_directory() -> Path:
    """Return the directory, which need not exist."""
    return Path(os.environ.get(STATE_VARIABLE) or platformdirs.user_state_dir("session-affinity")).resolve()
