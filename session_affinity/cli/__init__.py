"""The command line ``session-affinity``. Each module of ``commands`` is one of its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default those of this process, and return the exit code."""
    try:
        from session_affinity.cli.application import run
    except KeyboardInterrupt:  # nothing has begun
        return 2
    return run(arguments)
