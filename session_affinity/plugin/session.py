"""Ends a session that cannot judge any claim, and lets output reach the terminal while pytest captures it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def abort_session_on_error(what: str) -> Iterator[None]:
    """Abort the session on a setup error that makes every claim meaningless, instead of erroring in each test.

    ``what`` names what is missing, and begins the message.
    """
    try:
        yield
    except SuiteError as error:
        usage = isinstance(error, UsageError)
        code = pytest.ExitCode.USAGE_ERROR if usage else pytest.ExitCode.INTERNAL_ERROR
        pytest.exit(f"{what}: {type(error).__name__}: {error}", returncode=code)


@contextlib.contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Let output inside the block reach the terminal while pytest captures output."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield
