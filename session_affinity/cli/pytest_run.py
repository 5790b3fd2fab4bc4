"""pytest as the command line runs it: with the suite's own configuration, whatever directory it is started in.

Neither the configuration and conftest files of that directory, nor PYTEST_ADDOPTS and PYTEST_PLUGINS, nor plugins that
happen to be installed change a run; what is to change it stands behind ``--`` on the command line.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Final

from session_affinity import bundle, extras
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from session_affinity.claims.catalogue import ClaimTest

IGNORED_VARIABLES: Final = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def run_pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run the suite's tests in this process and return pytest's exit code; relative paths are the user's."""
    import pytest

    with _own_environment():
        return int(pytest.main([*configuration(), *arguments, str(bundle.SUITE)], plugins=plugins))


def configuration() -> tuple[str, ...]:
    """Return the arguments that make pytest read the suite's configuration and nothing else, and write nothing there.

    Warnings fail the project's own runs only: those of other versions of the libraries say nothing about a cluster.
    """
    root = str(bundle.ROOT)
    plugins = ("timeout", *(() if extras.missing(extras.ALLURE) else ("allure_pytest",)))
    return (
        *("-c", str(bundle.PYTEST_CONFIGURATION), "--rootdir", root, "--confcutdir", root),
        *("--disable-plugin-autoload", *(word for name in plugins for word in ("-p", name))),
        *("-p", "no:cacheprovider", "-W", "default", "--no-header"),
    )


def catalogue() -> dict[str, ClaimTest]:
    """Return all claims with what their tests say, by id; collects the suite's tests. Raises SuiteError."""
    from session_affinity.plugin.claims import CATALOGUE

    class Collector:
        def __init__(self) -> None:
            self.claims: dict[str, ClaimTest] = {}

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.claims = session.config.stash[CATALOGUE]

    collector = Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = run_pytest(("--collect-only", "-q"), plugins=(collector,))
    if code:
        raise SuiteError(f"the claims could not be collected: {output.getvalue().strip()}")
    return collector.claims


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in IGNORED_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
