"""The terminal and JUnit: one line for each claim, failures that begin with the cause, errors apart from failures."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import pytest
from _pytest.junitxml import xml_key

from session_affinity.errors import SuiteError
from session_affinity.plugin.check import HEADLINE
from session_affinity.plugin.claims import CATALOGUE, claim_of
from session_affinity.plugin.facts import SHARED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from _pytest.terminal import TerminalReporter

    from session_affinity.claims import Claim

CLAIM: Final = "claim"
"""The property of a test report with the claim's id."""
_NO_VERDICT: Final = "no_verdict"
"""The attribute of a test report that says whether its test failed without a violated claim."""
LINE_OUTCOMES: Final = {"xfailed": "differs", "xpassed": "passed"}
"""The outcomes whose names differ from pytest's: those of promises of kube-proxy on a cluster without it."""
_COLOURS: Final = {"passed": "green", "failed": "red", "error": "red", "skipped": "yellow", "differs": "yellow"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Report line by line unless -q, -v or --collect-only ask for pytest's own output."""
    config = session.config
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None and config.get_verbosity() == 0 and not config.getoption("collectonly"):
        config.pluginmanager.register(ClaimLines(reporter, config), "claim-lines")
    config.pluginmanager.register(JUnitErrors(config), "junit-errors")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the claim to its report, and replace the traceback of a violated claim or a project error by its message."""
    claim = claim_of(item)
    if claim is None:
        return (yield)
    error = call.excinfo.value if call.excinfo else None
    has_message = isinstance(error, (AssertionError, SuiteError)) and item.config.getoption("tbstyle") == "auto"
    with _no_arguments(item.config) if has_message else contextlib.nullcontext():
        report = yield
    if call.when != "call" and hasattr(report, "wasxfail") and call.excinfo:
        # A claim may differ in its verdict only; what fails before or after that is an error, an assertion too.
        del report.wasxfail
        report.outcome = "failed"
    if call.when == "setup":
        # The time of shared fixtures is not that of the first test that requests them; the summary has it.
        report.duration = max(report.duration - item.stash.get(SHARED_SECONDS, 0.0), 0.0)
    report.user_properties.extend([] if properties_of(report).get(CLAIM) else [(CLAIM, claim.id)])
    if call.excinfo is not None:
        setattr(report, _NO_VERDICT, not isinstance(call.excinfo.value, (AssertionError, pytest.fail.Exception)))
    if error is not None and has_message and report.failed:
        path, line, _ = item.reportinfo()
        report.longrepr = f"{failure_text(error)}\n\n{path}:{(line or 0) + 1}: {item.name}"
    return report


@contextlib.contextmanager
def _no_arguments(config: pytest.Config) -> Iterator[None]:
    """Keep pytest from formatting a test's arguments, which takes minutes for thousands of answers and is not shown."""
    before = config.option.tbstyle
    config.option.tbstyle = "native"
    try:
        yield
    finally:
        config.option.tbstyle = before


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count a claim that could not be tested as an error, as Allure counts it as broken."""
    if CLAIM in properties_of(report) and report.when == "call" and is_undetermined(report):
        return "error", "E", "ERROR"
    return None


def is_undetermined(report: pytest.TestReport) -> bool:
    """Return whether a claim could not be tested: its test failed for another reason than a violated claim."""
    return report.failed and (report.when != "call" or getattr(report, _NO_VERDICT, False))


def outcome_of(report: pytest.TestReport) -> str:
    """Return pytest's name of a claim's outcome: passed, failed, error, skipped, xfailed or xpassed."""
    if is_undetermined(report):
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def failure_text(error: BaseException) -> str:
    """Return the message of a failure: that of an assertion without the source line that pytest adds."""
    if isinstance(error, SuiteError):
        return f"could not be tested: {type(error).__name__}: {error}"
    lines = str(error).splitlines()
    code_lines = [number for number, line in enumerate(lines) if line.startswith("assert ")]
    return "\n".join(lines[: code_lines[-1]] if code_lines and code_lines[-1] > 0 else lines)


class JUnitErrors:
    """Turns the ``<failure>`` of a claim that could not be tested into an ``<error>`` in pytest's JUnit file.

    pytest writes ``<error>`` only for set-up and teardown; the counts of the ``testsuite`` element follow.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Change the element that pytest has just added."""
        junit: Any = self._config.stash.get(xml_key, None)
        if junit is None or report.when != "call" or CLAIM not in properties_of(report) or not is_undetermined(report):
            return
        for element in junit.node_reporter(report).nodes:
            if element.tag == "failure":
                element.tag = "error"
                junit.stats["failure"] -= 1
                junit.stats["error"] += 1


class ClaimLines:
    """Writes a line for each claim as it is judged: outcome, id, title, headline and the seconds it took."""

    def __init__(self, reporter: TerminalReporter, config: pytest.Config) -> None:
        self._reporter = reporter
        self._reporter.showfspath = False
        self._config = config
        self._seconds: dict[str, float] = {}
        self._summary = False

    def pytest_sessionfinish(self) -> None:
        """Leave the outcomes in the summary to pytest."""
        self._summary = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count a claim as pytest does, without printing a letter for it."""
        if self._summary or CLAIM not in properties_of(report):
            return None
        if report.when == "call" or not report.passed:
            return outcome_of(report), "", ""
        return "", "", ""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the line of a claim when its outcome is known."""
        properties = properties_of(report)
        if CLAIM not in properties:
            return
        seconds = self._seconds.pop(report.nodeid, 0.0) + report.duration
        if report.when == "setup" and report.passed:
            self._seconds[report.nodeid] = seconds
        elif report.when != "teardown" or report.failed:
            outcome = LINE_OUTCOMES.get(outcome_of(report), outcome_of(report))
            claim = self._config.stash[CATALOGUE][properties[CLAIM]].claim
            self._write(outcome, claim, properties.get(HEADLINE, ""), seconds)

    def _write(self, outcome: str, claim: Claim, headline: str, seconds: float) -> None:
        self._reporter.ensure_newline()
        self._reporter.write(f"{outcome:<8}", **{_COLOURS.get(outcome, "red"): True})
        text = f"{claim.title}: {headline}" if headline else claim.title
        self._reporter.line(f"{claim.id:<6}{text}  {seconds:.1f} s")


def properties_of(report: pytest.TestReport) -> dict[str, str]:
    """Return the properties of a test report: the claim's id and the headline of its verdict."""
    return {name: str(value) for name, value in getattr(report, "user_properties", ())}
