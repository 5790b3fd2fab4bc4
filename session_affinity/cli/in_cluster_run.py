"""``session-affinity check --in-cluster``: the same run as a Job of the cluster, started from here."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from session_affinity import about
from session_affinity.cli.commands.job import OUTSIDE, agent_image_of, run_arguments
from session_affinity.cli.run_options import GroupedOption, heading, value_of
from session_affinity.conformance import report as reports
from session_affinity.conformance.verdict_line import verdict_line
from session_affinity.errors import SuiteError, UsageError
from session_affinity.options import EXTERNAL_GROUP, cluster_options

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS: Final = frozenset(("--cluster", "--kubeconfig", "--context", "--report", "--evidence"))
"""Options that a Job does not take, and that are used here instead."""
_ALLURE: Final = "allure-results"
_JUNIT: Final = "junit.xml"
_METRICS: Final = "metrics.prom"


@dataclass(frozen=True)
class ReturnedFiles:
    """Where the files of a run are put, as far as they are asked for."""

    report: Path | None = None
    junitxml: Path | None = None
    alluredir: Path | None = None
    metrics: Path | None = None
    verdict: Path | None = None

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments by which the pod's ``check`` writes the files that it does not write in any case."""
        from session_affinity.clusters.external.job import RESULTS

        junit = (f"--junitxml={RESULTS}/{_JUNIT}",) if self.junitxml else ()
        return (*junit, *((f"--alluredir={RESULTS}/{_ALLURE}",) if self.alluredir else ()))

    def take(self, directory: Path, exit_code: int) -> None:
        """Copy the files from the directory that the pod's were unpacked in; raises SuiteError for one that is missing.

        A run that did not get as far has no report.
        """
        stored = directory / "report.yaml"
        document = reports.read(stored) if stored.exists() else None
        if self.report is not None and document is not None:
            reports.write(document, self.report)
        if self.verdict is not None:
            self.verdict.write_text(f"{verdict_line(exit_code, document)}\n", encoding="utf-8")
        for name, target in ((_JUNIT, self.junitxml), (_METRICS, self.metrics)):
            if target is not None and (directory / name).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(directory / name, target)
        if self.alluredir is not None and (directory / _ALLURE).exists():
            shutil.copytree(directory / _ALLURE, self.alluredir, dirs_exist_ok=True)


def in_cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options ``--in-cluster`` and ``--image``."""
    function = click.option(
        "--image",
        cls=GroupedOption,
        heading=heading(EXTERNAL_GROUP),
        metavar="IMAGE",
        default=about.IMAGE,
        help=f"The image of the suite for --in-cluster. Default: {about.IMAGE}.",
    )(function)
    return click.option(
        "--in-cluster",
        cls=GroupedOption,
        heading=heading(EXTERNAL_GROUP),
        is_flag=True,
        help="Run the suite as a Job of the cluster, show its output here, bring its files back, and remove it."
        " Default: run it here.",
    )(function)


def run_in_cluster(
    values: dict[str, Any], names: tuple[str, ...], expression: str, image: str, files: ReturnedFiles
) -> int:
    """Run the suite as a Job with a command's options and return its exit code; raises SuiteError."""
    from session_affinity.clusters import choice
    from session_affinity.clusters.external import in_cluster
    from session_affinity.clusters.external.job import JobSettings
    from session_affinity.clusters.external.pod_settings import settings_of
    from session_affinity.progress import Progress

    values = {**values, "agent_image": agent_image_of(values, image)}
    _require_possible(values)
    options = cluster_options(value_of(values))
    choice.check(options)
    passed = {name: value for name, value in values.items() if f"--{name.replace('_', '-')}" not in _OURS}
    settings = JobSettings(
        image=image,
        arguments=(*files.arguments(), *run_arguments(passed, names, expression)),
        settings=settings_of(options),
    )
    with tempfile.TemporaryDirectory(prefix="session-affinity-") as scratch:
        directory = Path(scratch)
        ended = in_cluster.run(settings, options, Progress(), write=click.echo, files=directory)
        try:
            files.take(directory, ended.exit_code)
        except OSError as error:
            raise SuiteError(f"the files of the run cannot be written: {error}") from error
    click.echo(f"in the cluster: {ended.verdict or f'exit code {ended.exit_code}'}")
    return ended.exit_code


def _require_possible(values: dict[str, Any]) -> None:
    value = value_of(values)
    if value("--kubeconfig") is None:
        raise UsageError("--in-cluster needs --kubeconfig FILE", next_step="name the cluster that the Job runs in")
    for option in sorted(OUTSIDE - _OURS):
        if value(option) not in (None, False, (), value_of({})(option)):
            raise UsageError(
                f"{option} cannot be passed to a Job in the cluster",
                next_step=f"leave out {option}, or --in-cluster; `session-affinity job` prints a Job to change",
            )
