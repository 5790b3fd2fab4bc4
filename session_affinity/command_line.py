"""What every command line of the project does alike: verbs, exit codes, and errors with the next step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

NOT_DONE: Final = 1
UNUSABLE_OPTIONS: Final = 2
INTERRUPTED: Final = 130


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run the verb that the arguments name and return the exit code; an error is one message on standard error.

    A verb is a callable that the parser puts into ``verb``.
    """
    parsed = parser.parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = parsed.verb
    try:
        return verb(parsed)
    except SuiteError as error:
        sys.stderr.write(f"error: {error}\n")
        return UNUSABLE_OPTIONS if isinstance(error, UsageError) else NOT_DONE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was begun has been removed\n")
        return INTERRUPTED
