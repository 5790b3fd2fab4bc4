"""What the exit codes mean, for help: the same for all commands."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, ParamSpec

import click

from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

MEANINGS: Final = {
    ExitCode.HOLDS: "every claim that was judged holds, or differs as known; other commands: done",
    ExitCode.VIOLATED: "the cluster violates a claim; other commands: not done",
    ExitCode.INTERRUPTED: "interrupted; what was created has been removed",
    ExitCode.INTERNAL_ERROR: "an error in the suite",
    ExitCode.USAGE: "unusable options",
    ExitCode.NOTHING_COLLECTED: "no claim was selected",
    ExitCode.UNDETERMINED: "no claim is violated, but one could not be judged, as where no cluster answers",
    ExitCode.NOTHING_JUDGED: "every selected claim was skipped",
}


def table() -> str:
    """Return the codes with their meanings, a line each."""
    return "\n".join(f"  {code.value:<3} {meaning}" for code, meaning in MEANINGS.items())


def undetermined_on_error(command: Callable[P, int]) -> Callable[P, int]:
    """Return a command that judges, and ends with UNDETERMINED where it cannot; it still raises UsageError."""

    @functools.wraps(command)
    def judged(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except UsageError:
            raise
        except SuiteError as error:
            click.echo(f"error: {error}", err=True)
            return ExitCode.UNDETERMINED

    return judged
