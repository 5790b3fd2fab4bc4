"""How the report tells of a claim: which leg it ran on, its message first, what was seen as steps with attachments."""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
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
from session_affinity.plugin.terminal import failure_text
from session_affinity.report import diagnostics
from session_affinity.report.attachment import Attachment
from session_affinity.report.steps import Phase, ReportStep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable


MOST_AFTERMATHS = 5
"""After so many claims that failed, the cluster is not kept again: what it looks like is there by then."""
MENTIONED_MILLISECONDS = 50
"""A fixture that took less and did not fail is not worth a line of the report."""
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
    """What the report is to say of a test beside its outcome."""

    message: str = ""
    trace: str = ""
    steps: tuple[ReportStep, ...] = ()
    aftermath: dict[str, list[Attachment]] | str = ""
    at: float = 0.0


TOLD = pytest.StashKey[ReportEntry]()


def pytest_configure(config: pytest.Config) -> None:
    """Have a say in what allure-pytest writes, where it writes."""
    if config.getoption("allure_report_dir", default=None) and not config.getoption("collectonly"):
        results = Results(config)
        config.pluginmanager.register(results, "claim-results")
        _hooks.register(results)
        config.add_cleanup(lambda: _hooks.unregister(results))


class Results:
    """Completes the results of claims before they are written. One test is under way at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._item: pytest.Item | None = None
        self._aftermath_of: list[str] = []
        self._shared: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test is under way; one that the run ends on could not be told."""
        self._item = item
        told = item.stash[TOLD] = ReportEntry()
        try:
            return (yield)
        except pytest.exit.Exception as stopped:
            told.message = stopped.msg
            _allure.global_error(stopped.msg)
            raise
        except KeyboardInterrupt:
            told.message = "the run was interrupted"
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take down what the test says and saw, while what it was about is still there."""
        report = yield
        if claim := claim_of(item):
            told = item.stash[TOLD]
            if call.excinfo is not None:
                told.message, told.trace = _said(item, report, call.excinfo)
            failed = call.excinfo is not None and not report.skipped
            try:
                if call.when == "call" or (call.when == "setup" and failed):
                    told.steps = close(item, failed=failed)
                if failed and call.when != "teardown" and is_wanted(item.config):
                    told.at = time.time()
                    told.aftermath = self._look_around(claim.id)
            except Exception as error:  # noqa: BLE001 - a verdict stands whether or not its evidence could be written
                _allure.global_error(error)
                trace = Attachment("trace", "".join(traceback.format_exception(error)))
                title = f"the evidence could not be written, a mistake in the suite: {error!r}"
                told.steps = (ReportStep(Phase.OBSERVE, title, call.start, call.stop, (trace,), ok=False),)
        return report

    @_before_writing
    def report_result(self, result: Any) -> None:
        """Complete a result; what allure-pytest made of it stays where nothing is said here."""
        item = self._item
        if item is None or claim_of(item) is None:
            return
        told = item.stash[TOLD]
        if result.historyId is None:
            # The run ended in its set-up, so allure-pytest never came to name it.
            result.status = _model.Status.BROKEN
            result.labels.extend(_labels(item))
        if told.message:
            result.statusDetails = _model.StatusDetails(message=told.message, trace=told.trace or None)
        leg = leg_of(self._config)
        result.labels.extend(_model.Label(name=name, value=value) for name, value in leg.labels.items())
        result.parameters.extend(_model.Parameter(name=name, value=value) for name, value in leg.parameters.items())
        values = [one.value for one in sorted(result.parameters, key=lambda one: one.name) if not one.excluded]
        result.historyId = _md5(result.fullName, *values)
        headline = dict(item.user_properties).get(HEADLINE)
        if headline:
            result.parameters.append(_model.Parameter(name=HEADLINE, value=str(headline), excluded=True))
        result.steps.extend(_step(one) for one in told.steps)
        result.steps.extend(_aftermath(told))
        item.stash[TOLD] = ReportEntry()  # written: what many tests told would be much to keep

    @_before_writing
    def report_container(self, container: Any) -> None:
        """Leave out fixtures of the whole run, those that took no time, and what was tidied up, unless they failed."""
        container.befores = [
            one for one in container.befores if _failed(one) or (one.name not in self._shared and _took_time(one))
        ]
        container.afters = [one for one in container.afters if _failed(one)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Note which fixtures are the whole run's: the summary has them, not every test."""
        if fixturedef.scope != "function":
            self._shared.add(fixturedef.argname)

    def _look_around(self, claim_id: str) -> dict[str, list[Attachment]] | str:
        known = self._config.stash[RUN_FACTS]
        cluster, api = known.cluster, known.shared.get("api")
        if cluster is None or api is None:
            return ""
        if len(self._aftermath_of) >= MOST_AFTERMATHS:
            return f"not kept again: the cluster's state is with {', '.join(self._aftermath_of)}, which failed before"
        self._aftermath_of.append(claim_id)
        found = {}
        with contextlib.suppress(SuiteError):
            found["events and pods"] = diagnostics.of_api(api, cluster.namespace)
        found |= diagnostics.of_nodes(cluster, list(cluster.nodes), cluster.facts.get("proxy mode", ""))
        return found


def _labels(item: pytest.Item) -> Iterable[Any]:
    """Yield the labels of a test's markers."""
    for mark in item.iter_markers("allure_label"):
        yield from (_model.Label(name=mark.kwargs["label_type"], value=value) for value in mark.args)


def _said(item: pytest.Item, report: pytest.TestReport, error: pytest.ExceptionInfo[BaseException]) -> tuple[str, str]:
    """Return message and trace: the cause first, and the code only where it is the code that went wrong."""
    path, line, name = item.location
    where = f"{path}:{(line or 0) + 1}: {name}"
    value = error.value
    if isinstance(value, pytest.skip.Exception):
        return value.msg or "skipped", ""
    expected = getattr(report, "wasxfail", None)
    prefix = f"differs, which is no failure here: {expected}\n\n" if expected else ""
    if isinstance(value, AssertionError):
        return prefix + failure_text(value), where
    if isinstance(value, SuiteError):
        return f"{prefix}{type(value).__name__}: {value}", f"{where}\n\n{error.getrepr(style='short')}"
    return prefix + error.exconly(), f"{where}\n\n{error.getrepr(style='short')}"


def _step(step: ReportStep) -> Any:
    return _model.TestStepResult(
        name=step.title,
        status=_model.Status.PASSED if step.ok else _model.Status.FAILED,
        start=round(step.began * 1000),
        stop=round(step.ended * 1000),
        steps=[_step(one) for one in step.steps],
        attachments=[_attached(one) for one in step.attachments],
    )


def _aftermath(told: ReportEntry) -> Iterable[Any]:
    if not told.aftermath:
        return
    found = told.aftermath if isinstance(told.aftermath, dict) else {}
    name = "Afterwards: the cluster as it was then" + ("" if found else f" is {told.aftermath}")
    start = round(told.at * 1000)
    within = [
        _model.TestStepResult(
            name=place,
            status=_model.Status.PASSED,
            start=start,
            stop=start,
            attachments=[_attached(one) for one in attachments],
        )
        for place, attachments in found.items()
    ]
    yield _model.TestStepResult(name=name, status=_model.Status.PASSED, start=start, stop=start, steps=within)


def _attached(attachment: Attachment) -> Any:
    """Write an attachment beside the results and return the reference to it."""
    file = f"{uuid4()}-attachment.{attachment.kind.extension}"
    _hooks.hook.report_attached_data(body=attachment.body.encode(), file_name=file)
    return _model.Attachment(name=attachment.name, source=file, type=attachment.kind.media_type)


def _took_time(fixture: Any) -> bool:
    return bool((fixture.stop or fixture.start or 0) - (fixture.start or 0) >= MENTIONED_MILLISECONDS)


def _failed(fixture: Any) -> bool:
    return fixture.status not in (None, _model.Status.PASSED)
