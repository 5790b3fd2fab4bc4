"""Posts how far a run is, for the runner that has started it (``check --progress-url``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click
import urllib3

from session_affinity.conformance import sonobuoy

if TYPE_CHECKING:
    import pytest

PAUSE_SECONDS: Final = 1.0
"""The shortest time between two posts; the last one is always sent."""
_TIMEOUT: Final = urllib3.Timeout(2.0)


class ProgressPosts:
    """A plugin of pytest that posts the number of judged claims and those that failed, as JSON.

    A post that fails is said once and changes nothing else: the progress is no result.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)
        self._total = 0
        self._judged: set[str] = set()
        self._failures: list[str] = []
        self._posted = -PAUSE_SECONDS
        self._has_complained = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note how many claims there are."""
        self._total = len(session.items)
        self._post("starting")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a claim once its outcome is known."""
        from session_affinity.plugin.terminal import CLAIM, properties_of

        claim = properties_of(report).get(CLAIM)
        if claim is None or (report.when == "setup" and report.passed):
            return
        self._judged.add(claim)
        if report.failed and claim not in self._failures:
            self._failures.append(claim)
        if time.monotonic() - self._posted >= PAUSE_SECONDS:
            self._post(f"{claim} {report.outcome}")

    def pytest_sessionfinish(self) -> None:
        """Post the end."""
        self._post("finished")

    def _post(self, message: str) -> None:
        self._posted = time.monotonic()
        update = sonobuoy.progress(message, len(self._judged), self._total, self._failures)
        try:
            status = self._client.request("POST", self._url, json=update).status
            trouble = "" if status < 400 else f"status {status}"
        except urllib3.exceptions.HTTPError as error:
            trouble = str(error)
        if trouble and not self._has_complained:
            self._has_complained = True
            click.echo(f"progress cannot be posted to {self._url}: {trouble}", err=True)
