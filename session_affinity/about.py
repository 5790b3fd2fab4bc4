"""Which suite this is: its version, and the commit it runs from."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from session_affinity.deadlines import DEFAULTS

DISTRIBUTION: Final = "session-affinity-conformance"
_ROOT: Final = Path(__file__).parents[1]


def version() -> str:
    """Return the version as installed; ``unknown`` where only the source is there."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def commit(root: Path = _ROOT) -> str:
    """Return the commit of a checkout, with a plus when files of it were changed; empty where there is none."""
    if not (root / ".git").exists():
        return ""
    try:
        told = subprocess.run(
            ("git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"),
            capture_output=True,
            text=True,
            timeout=DEFAULTS.git,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
