"""The Allure result of a claim: its leg, a message that begins with the cause, and its evidence as steps."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import allure
import allure_commons
import pytest
from allure_commons import model2
from allure_commons.utils import md5

from session_affinity.errors import SuiteError
from session_affinity.plugin.check import HEADLINE
from session_affinity.plugin.claims import claim_of
from session_affinity.plugin.evidence import close, is_wanted
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.leg import leg_of
from session_affinity.plugin.terminal import failure_text, is_undetermined
from session_affinity.report.attachment import Attachment
from session_affinity.report.diagnostics import Diagnostics, collect
from session_affinity.report.steps import Phase, ReportStep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable


MOST_DIAGNOSTICS: Final = 5
"""The number of failed claims after which diagnostics are collected; later ones would repeat them."""
SHOWN_MILLISECONDS: Final = 50
"""The duration from which a fixture is shown in a result; one that failed is always shown."""
# Allure declares no types for these.
_allure: Any = allure
_hooks: Any = allure_commons.plugin_manager
_hookimpl: Any = allure_commons.hookimpl
_model: Any = model2
_md5: Any = md5

Hook = TypeVar("Hook", bound="Callable[..., None]")


def _before_writing(function: Hook) -> Hook:
    """Have Allure call a method before it writes."""
    hook: Hook = _hookimpl(tryfirst=True)(function)
    return hook


@dataclass
class ReportEntry:
    """What is added to the Allure result of a test.

    ``message`` is empty when allure-pytest's own stays; ``trace`` is the place in the code. ``diagnostics`` are None
    unless the test failed and a cluster was there. ``differs`` is why a claim that does not hold is no failure here.
    ``is_violated`` says that the claim failed, ``is_broken`` that its set-up or clean-up did.
    """

    message: str = ""
    trace: str = ""
    steps: tuple[ReportStep, ...] = ()
    diagnostics: Diagnostics | None = None
    differs: str = ""
    is_violated: bool = False
    is_broken: bool = False


DIFFERS: Final = "differs"
"""The parameter of an Allure result that says why a claim that does not hold is no failure here."""
ENTRY = pytest.StashKey[ReportEntry]()


def pytest_configure(config: pytest.Config) -> None:
    """Register ``Results`` with pytest and Allure when Allure results are written."""
    if config.getoption("allure_report_dir", default=None) and not config.getoption("collectonly"):
        results = Results(config)
        config.pluginmanager.register(results, "claim-results")
        _hooks.register(results)
        config.add_cleanup(lambda: _hooks.unregister(results))


class Results:
    """Completes the results of claims before they are written. Tests run one at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._item: pytest.Item | None = None
        self._diagnosed: list[str] = []
        self._shared: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note the test that runs, and the reason when the whole run ends in it."""
        self._item = item
        entry = item.stash[ENTRY] = ReportEntry()
        try:
            return (yield)
        except pytest.exit.Exception as stopped:
            entry.message = stopped.msg
            _allure.global_error(stopped.msg)
            raise
        except KeyboardInterrupt:
            entry.message = "the run was interrupted"
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Collect message, evidence and diagnostics of a claim while its objects still exist."""
        report = yield
        if claim := claim_of(item):
            entry = item.stash[ENTRY]
            if call.excinfo is not None:
                entry.message, entry.trace = _message(item, report, call.excinfo)
                entry.differs = getattr(report, "wasxfail", "") or entry.differs
            failed = call.excinfo is not None and not report.skipped
            entry.is_violated |= report.failed and not is_undetermined(report)
            entry.is_broken |= call.when != "call" and failed
            try:
                if call.when == "call" or (call.when == "setup" and failed):
                    entry.steps = close(item, failed=failed)
                if failed and call.when != "teardown" and is_wanted(item.config):
                    entry.diagnostics = self._diagnose(claim.id)
            except Exception as error:  # noqa: BLE001 - the verdict does not depend on its evidence
                _allure.global_error(error)
                trace = Attachment("trace", "".join(traceback.format_exception(error)))
                title = f"the evidence could not be written, a mistake in the suite: {error!r}"
                entry.steps = (ReportStep(Phase.OBSERVE, title, call.start, call.stop, (trace,), ok=False),)
        return report

    @_before_writing
    def report_result(self, result: Any) -> None:
        """Complete a result before allure-pytest writes it."""
        item = self._item
        if item is None or claim_of(item) is None:
            return
        entry = item.stash[ENTRY]
        if result.historyId is None:
            # The run ended in the test's set-up, before allure-pytest gave the result a name and labels.
            result.status = _model.Status.BROKEN
            result.labels.extend(_labels(item))
        if entry.is_broken and not entry.is_violated:
            # allure-pytest takes an assertion outside the test for a failure, and keeps the status of a skipped test.
            result.status = _model.Status.BROKEN
        if entry.message:
            result.statusDetails = _model.StatusDetails(message=entry.message, trace=entry.trace or None)
        leg = leg_of(self._config)
        result.labels.extend(_model.Label(name=name, value=value) for name, value in leg.labels.items())
        result.parameters.extend(_model.Parameter(name=name, value=value) for name, value in leg.parameters.items())
        parameters = sorted(result.parameters, key=lambda parameter: str(parameter.name))
        result.historyId = _md5(result.fullName, *(entry.value for entry in parameters if not entry.excluded))
        headline = dict(item.user_properties).get(HEADLINE)
        if headline:
            result.parameters.append(_model.Parameter(name=HEADLINE, value=str(headline), excluded=True))
        if entry.differs:
            # Allure has no status of its own for it: the result is one of a skipped test.
            result.parameters.append(_model.Parameter(name=DIFFERS, value=entry.differs, excluded=True))
        result.steps.extend(map(_step, entry.steps))
        if entry.diagnostics:
            result.steps.append(_diagnostics_step(entry.diagnostics))
        item.stash[ENTRY] = ReportEntry()  # it is written: the evidence of all tests would be much to keep

    @_before_writing
    def report_container(self, container: Any) -> None:
        """Leave out shared fixtures, fixtures that took no time, and teardown, unless they failed."""
        container.befores = [
            fixture
            for fixture in container.befores
            if _failed(fixture) or (fixture.name not in self._shared and _took_time(fixture))
        ]
        container.afters = [fixture for fixture in container.afters if _failed(fixture)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Note the fixtures that tests share: the summary has their time."""
        if fixturedef.scope != "function":
            self._shared.add(fixturedef.argname)

    def _diagnose(self, claim_id: str) -> Diagnostics | None:
        """Return the diagnostics of the cluster; None while there is none."""
        run = self._config.stash[RUN_FACTS]
        if run.cluster is None or run.api is None:
            return None
        if len(self._diagnosed) >= MOST_DIAGNOSTICS:
            return Diagnostics(omitted=f"see those of {', '.join(self._diagnosed)}, which failed before")
        self._diagnosed.append(claim_id)
        return collect(run.cluster, run.api)


def _labels(item: pytest.Item) -> Iterable[Any]:
    """Yield the labels of a test's markers."""
    for mark in item.iter_markers("allure_label"):
        yield from (_model.Label(name=mark.kwargs["label_type"], value=value) for value in mark.args)


def _message(
    item: pytest.Item, report: pytest.TestReport, error: pytest.ExceptionInfo[BaseException]
) -> tuple[str, str]:
    """Return message and trace: the cause first, and code only when the code is at fault."""
    path, line, name = item.location
    place = f"{path}:{(line or 0) + 1}: {name}"
    value = error.value
    if isinstance(value, pytest.skip.Exception):
        return value.msg or "skipped", ""
    expected = getattr(report, "wasxfail", None)
    prefix = f"differs, which is not a failure here: {expected}\n\n" if expected else ""
    if isinstance(value, AssertionError):
        return prefix + failure_text(value), place
    if isinstance(value, SuiteError):
        return f"{prefix}{type(value).__name__}: {value}", f"{place}\n\n{error.getrepr(style='short')}"
    return prefix + error.exconly(), f"{place}\n\n{error.getrepr(style='short')}"


def _step(step: ReportStep) -> Any:
    return _model.TestStepResult(
        name=step.title,
        status=_model.Status.PASSED if step.ok else _model.Status.FAILED,
        start=round(step.began * 1000),
        stop=round(step.ended * 1000),
        steps=[_step(part) for part in step.steps],
        attachments=[_attached(attachment) for attachment in step.attachments],
    )


def _diagnostics_step(diagnostics: Diagnostics) -> Any:
    omitted = f": {diagnostics.omitted}" if diagnostics.omitted else ""
    at = diagnostics.began
    parts = tuple(
        ReportStep(Phase.OBSERVE, source, at, at, tuple(attachments))
        for source, attachments in diagnostics.attachments.items()
    )
    return _step(
        ReportStep(Phase.OBSERVE, f"Diagnostics of the cluster after the failure{omitted}", at, at, steps=parts)
    )


def _attached(attachment: Attachment) -> Any:
    """Write an attachment beside the results and return the reference to it."""
    file = f"{uuid4()}-attachment.{attachment.kind.extension}"
    _hooks.hook.report_attached_data(body=attachment.body.encode(), file_name=file)
    return _model.Attachment(name=attachment.name, source=file, type=attachment.kind.media_type)


def _took_time(fixture: Any) -> bool:
    return bool((fixture.stop or fixture.start or 0) - (fixture.start or 0) >= SHOWN_MILLISECONDS)


def _failed(fixture: Any) -> bool:
    return fixture.status not in (None, _model.Status.PASSED)
