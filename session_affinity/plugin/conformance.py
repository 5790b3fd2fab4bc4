"""Collects the result of a run, writes the conformance report, and sets the exit code."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity import about
from session_affinity.clusters.external.own_pod import SUITE_IMAGE
from session_affinity.conformance import report as reports
from session_affinity.conformance.differences import read_differences
from session_affinity.conformance.exit_codes import NODE_CLAIMS, ExitCode, exit_code
from session_affinity.conformance.implementation import Implementation, read_implementation
from session_affinity.conformance.result import ClaimResult, Outcome, RunResult, SkipReason
from session_affinity.dataplane.proxy_config import UNKNOWN
from session_affinity.errors import SuiteError, UsageError
from session_affinity.kube.in_cluster import SERVICE_ACCOUNT
from session_affinity.plugin.check import HEADLINE
from session_affinity.plugin.claims import CATALOGUE, claim_of
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.options import ONLY_BEHAVIOUR, cluster_options_of
from session_affinity.plugin.selection import JUDGEABLE, KNOWN_BEHAVIOURS, NOT_TO_BE_DISTURBED
from session_affinity.plugin.terminal import is_undetermined, properties_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

    from session_affinity.claims import Claim
    from session_affinity.conformance.differences import KnownDifference
    from session_affinity.dataplane.recognition import Recognition

RESULT: Final = pytest.StashKey[RunResult]()
"""The result of the run; set at its end."""
DOCUMENT: Final = pytest.StashKey[dict[str, Any]]()
"""The conformance report; set at the end of the run, where it can be made."""
DIFFERENCES: Final = pytest.StashKey[dict[str, "KnownDifference"]]()
_ENDED_EARLY: Final = "the run ended before this claim was tested"


def implementation_of(config: pytest.Config) -> Implementation:
    """Return what the options say about the implementation; raises UsageError."""
    names = ("organization", "project", "url", "version", "mode")
    options = {name: str(config.getoption(f"--implementation-{name}")) for name in names}
    return read_implementation(config.getoption("--implementation"), options)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that name unreadable files, and begin to collect results."""
    config.stash[DIFFERENCES] = {}
    try:
        implementation_of(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(ResultCollector(config), "conformance-results")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let claims with a known difference differ: a violation is expected there, and nothing but a violation."""
    if (file := config.getoption("--differences")) is None:
        return
    try:
        catalogue = config.stash[CATALOGUE]
        known = read_differences(file, catalogue, implementation_of(config).version)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[DIFFERENCES] = known
    for item in items:
        claim = claim_of(item)
        if claim and claim.id in known:
            reason = f"a known difference: {known[claim.id].reason}"
            item.add_marker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=False))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Name the claims that pass although a difference or a known behaviour says otherwise, and the report."""
    result = config.stash.get(RESULT, None)
    if result is None or config.get_verbosity() < 0:
        return
    behaviours, listed = config.stash[KNOWN_BEHAVIOURS], config.stash[DIFFERENCES]
    for claim_id in result.passes_after_all:
        if claim_id in listed:
            terminalreporter.line(f"passes after all: {claim_id}; take it out of {config.getoption('--differences')}")
        else:
            terminalreporter.line(f"passes after all: {claim_id}, although it is known that {behaviours[claim_id]}")
    if file := config.getoption("--report"):
        terminalreporter.line(f"report: {file}")


class ResultCollector:
    """Turns pytest's test reports into the result of the run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._results: dict[str, ClaimResult] = {}
        self._seconds: dict[str, float] = {}
        self._passes_after_all: list[str] = []
        self._stopped = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Note why a run ends early."""
        try:
            return (yield)
        except pytest.exit.Exception as stopped:
            self._stopped = stopped.msg
            raise
        except KeyboardInterrupt:
            self._stopped = "the run was interrupted"
            raise

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what a test report says about its claim."""
        properties = properties_of(report)
        test = self._config.stash[CATALOGUE].get(properties.get("claim", ""))
        if test is None:
            return
        claim = test.claim
        self._seconds[claim.id] = self._seconds.get(claim.id, 0.0) + report.duration
        if report.when == "setup" and report.passed:
            return
        before = self._results.get(claim.id)
        if report.when == "teardown" and report.passed:
            return
        if report.when == "teardown":
            if before is None or before.outcome is not Outcome.FAILED:
                verdict = f"its verdict was {before.outcome}; " if before else ""
                message = f"{verdict}the clean-up failed: {_message(report)}"
                self._results[claim.id] = ClaimResult(claim, Outcome.UNDETERMINED, message=message)
            return
        self._results[claim.id] = self._judged(claim, report, properties.get(HEADLINE, ""))

    def _judged(self, claim: Claim, report: pytest.TestReport, headline: str) -> ClaimResult:
        listed = self._config.stash[DIFFERENCES].get(claim.id)
        behaviour = self._config.stash[KNOWN_BEHAVIOURS].get(claim.id)
        known = listed or behaviour
        expected = getattr(report, "wasxfail", None)
        message = _message(report)
        if is_undetermined(report):
            return ClaimResult(claim, Outcome.UNDETERMINED, message=message)
        if expected is not None and report.skipped:
            link = known.link if known else ""
            return ClaimResult(claim, Outcome.DIFFERS, headline, str(expected), link=link)
        if report.skipped:
            return ClaimResult(claim, Outcome.SKIPPED, message=message, skip_reason=self._skip_reason(message))
        if report.failed:
            return ClaimResult(claim, Outcome.FAILED, headline, message)
        if listed or (behaviour and self._config.stash[JUDGEABLE].has_everywhere(behaviour)):
            self._passes_after_all.append(claim.id)
        return ClaimResult(claim, Outcome.PASSED, headline)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Complete the result, write the report, and set the exit code where pytest's says less."""
        config = self._config
        if config.getoption("collectonly") or config.getoption("--claims") or not config.stash[CATALOGUE]:
            return
        config.stash[RUN_FACTS].learn_missing_nodes()
        ran = {claim.id for item in session.items if (claim := claim_of(item))}
        if exitstatus == pytest.ExitCode.USAGE_ERROR or not ran:
            return
        run = config.stash[RESULT] = RunResult(
            tuple(self._result_of(claim_id, ran) for claim_id in config.stash[CATALOGUE]),
            config.stash[RUN_FACTS].facts,
            time.monotonic() - self._began,
            tuple(self._passes_after_all),
        )
        aborted = exitstatus == pytest.ExitCode.INTERNAL_ERROR and bool(self._stopped)
        if aborted or exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            code = exit_code(run, require_node_claims=NODE_CLAIMS in config.getoption("--require"))
            # A failed test that is no claim's is pytest's to report.
            session.exitstatus = code or exitstatus
        file = config.getoption("--report")
        try:
            document = config.stash[DOCUMENT] = self._document(run)
            if file:
                reports.write(document, file)
        except (OSError, SuiteError) as error:
            session.exitstatus = ExitCode.INTERNAL_ERROR
            raise pytest.UsageError(f"--report {file or ''}: {error}") from error

    def _result_of(self, claim_id: str, ran: set[str]) -> ClaimResult:
        test = self._config.stash[CATALOGUE][claim_id]
        if claim_id in self._results:
            result = self._results[claim_id]
            fields = {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "seconds"}
            return ClaimResult(**fields, seconds=self._seconds.get(claim_id, 0.0))
        if claim_id not in ran:
            reason = SkipReason.DESELECTED
            return ClaimResult(test.claim, Outcome.SKIPPED, message="not selected", skip_reason=reason)
        message = f"{_ENDED_EARLY}: {self._stopped}" if self._stopped else _ENDED_EARLY
        return ClaimResult(test.claim, Outcome.UNDETERMINED, message=message)

    def _skip_reason(self, message: str) -> SkipReason:
        judgeable = self._config.stash[JUDGEABLE]
        if message == NOT_TO_BE_DISTURBED:
            return SkipReason.DISRUPTIVE
        options = cluster_options_of(self._config)
        if message == ONLY_BEHAVIOUR or (message == judgeable.nodes_not_judged and options.lacks_node_access):
            return SkipReason.NO_ACCESS
        return SkipReason.NOT_APPLICABLE

    def _document(self, run: RunResult) -> dict[str, Any]:
        config, facts = self._config, run.facts
        catalogue, cluster = config.stash[CATALOGUE], config.stash[RUN_FACTS].cluster
        description = reports.RunDescription(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            suite_version=about.version(),
            suite_commit=about.commit(),
            suite_image=facts.get(SUITE_IMAGE, ""),
            implementation=implementation_of(config),
            access=_access(config),
            cluster={**_cluster(facts), **_programs(config.stash[RUN_FACTS].recognition)},
            proxy_mode=cluster.proxy_configs.mode if cluster else UNKNOWN,
            command=_command(config),
        )
        return reports.document(run, catalogue, description)


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr or "").strip().partition("\n\n")[0]


def _access(config: pytest.Config) -> reports.RunAccess:
    options = cluster_options_of(config)
    nodes = options.node_access if options.is_external else "own"
    location = "in-cluster" if options.kubeconfig == SERVICE_ACCOUNT else "outside"
    return reports.RunAccess(nodes, bool(config.getoption("--only-behaviour")), location)


def _cluster(facts: Any) -> dict[str, Any]:
    def listed(name: str) -> list[str]:
        return [part for part in str(facts.get(name, "")).split(", ") if part]

    total = int(facts.get("nodes", 0) or 0)
    return {
        "kubernetes": facts.get("Kubernetes", ""),
        "provider": facts.get("provider", "external"),
        "nodes": {
            "total": total,
            "judged": int(facts.get("nodes judged", total) or 0),
            **({"sample": facts["nodes sampled"]} if "nodes sampled" in facts else {}),
        },
        "kernels": listed("kernel"),
        "operatingSystems": listed("operating system"),
        "containerRuntimes": listed("container runtime"),
        "ipFamilies": listed("IP families"),
        "proxySource": facts.get("proxy read from", ""),
    }


def _programs(recognition: Recognition) -> dict[str, Any]:
    """Return the programs that serve Services as a report has them; nothing where none was recognised."""
    programs = [
        {"name": program.name, "version": program.version, "serves": program.serves or "", "source": program.source}
        for program in recognition.programs
    ]
    shown = [{name: str(value) for name, value in program.items()} for program in programs]
    return {"programs": shown} if shown else {}


def _command(config: pytest.Config) -> str:
    """Return the options of the run that say how it judged, without paths and names of the cluster."""
    options = cluster_options_of(config)
    parts = [f"-m {expression!r}" if (expression := config.getoption("-m", default="")) else ""]
    parts += [
        f"--{name.replace('_', '-')}={value}"
        for name in ("kubernetes", "proxy_mode", "ip_family", "node_access")
        if (value := getattr(options, name)) not in (None, "none")
    ]
    parts += ["--only-behaviour"] if config.getoption("--only-behaviour") else []
    return " ".join(filter(None, parts))
