"""The suite's version, and the commit it runs from."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from session_affinity import __version__, bundle
from session_affinity.deadlines import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

DISTRIBUTION: Final = "session-affinity-conformance"
"""The name of the suite's package on package indexes."""
SOURCE: Final = f"https://github.com/{DISTRIBUTION}/{DISTRIBUTION}"
"""The repository."""
IMAGE: Final = f"ghcr.io/{DISTRIBUTION}/{DISTRIBUTION}:v{__version__}"
"""The container image of this version."""


def version() -> str:
    """Return the version of the suite."""
    return __version__


def commit(root: Path = bundle.ROOT) -> str:
    """Return the commit of a checkout, with a plus if files were changed; empty if ``root`` is no checkout."""
    if not (root / ".git").exists():
        return ""
    try:
        described = subprocess.run(
            ("git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"),
            capture_output=True,
            text=True,
            timeout=DEFAULTS.git,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()


def line() -> str:
    """Return name, version and commit as one line."""
    return " ".join(filter(None, (DISTRIBUTION, version(), commit())))
