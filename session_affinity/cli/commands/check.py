"""``session-affinity check``: judge claims on a cluster."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Final

import click

from session_affinity import about, extras
from session_affinity.cli import exit_codes
from session_affinity.cli.in_cluster_run import ReturnedFiles, in_cluster_options, run_in_cluster
from session_affinity.cli.progress_posts import ProgressPosts
from session_affinity.cli.pytest_run import run_pytest
from session_affinity.cli.run_options import (
    PASSED_ON,
    GroupedCommand,
    GroupedOption,
    arguments_of,
    heading,
    run_options,
    value_of,
)
from session_affinity.cli.run_outputs import RunOutputs, output_options
from session_affinity.cli.selection import RefuseUnknownNames, selection_arguments, selection_options
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.errors import SuiteError
from session_affinity.options import OUTPUT_GROUP, cluster_options

_HEADING: Final = heading(OUTPUT_GROUP)
_EPILOG: Final = f"""\
\b
Examples:
  session-affinity check --kubeconfig FILE
  session-affinity check --kubeconfig FILE --context staging --node-access agent
  session-affinity check --kubeconfig FILE C10 C16 rules
  session-affinity check --kubeconfig FILE -m 'api and not expiry'
  session-affinity check --kubernetes 1.36 --proxy-mode nftables     on a cluster started for the run
  session-affinity check --kubeconfig FILE --report report.yaml --junitxml junit.xml
  session-affinity check --kubeconfig FILE -- -x --tb=short          with options of pytest

On a cluster of your own the suite creates one namespace, works in it, and removes it at the end, also when it is
interrupted. With --namespace it works in an existing one. `session-affinity rbac` prints the rights that it needs, and
`session-affinity cleanup` removes what is left when it is killed.

The pytest configuration and conftest files of the current directory, PYTEST_ADDOPTS and PYTEST_PLUGINS do not change a
run; other plugins of pytest are loaded with `-- -p NAME`.

\b
Exit codes:
{exit_codes.table()}
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Judge claims on a cluster.")
@selection_options
@run_options()
@click.option(
    "--junitxml",
    cls=GroupedOption,
    heading=_HEADING,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the results as JUnit XML: <failure> is a violated claim, <error> one that could not be judged."
    " Default: none.",
)
@click.option(
    "--alluredir",
    cls=GroupedOption,
    heading=_HEADING,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write results with all evidence for an Allure report; needs the extra [allure]. Default: none.",
)
@output_options
@in_cluster_options
def command(
    names: tuple[str, ...],
    claims_selection: str,
    *,
    junitxml: Path | None,
    alluredir: Path | None,
    verdict: Path | None,
    metrics: Path | None,
    config_map: str | None,
    progress_url: str | None,
    image: str,
    in_cluster: bool,
    print_report: bool,
    **values: Any,
) -> int:
    """Judge claims about session affinity on a cluster: all of them, or those of the given ids and subjects.

    With --kubeconfig the cluster is yours. Without it one is started on this machine for the run (Linux, root, and the
    extra [embedded] or [kind]). Arguments behind -- go to pytest.
    """
    if alluredir is not None and not in_cluster:
        extras.require(extras.ALLURE, "--alluredir")
    click.echo(f"{about.line()}, Python {platform.python_version()}")
    if in_cluster:
        for option, value in (("--config-map", config_map), ("--progress-url", progress_url)):
            if value:
                raise click.UsageError(f"{option} cannot be used with --in-cluster")
        files = ReturnedFiles(values["report"], junitxml, alluredir, metrics, verdict)
        return run_in_cluster(values, names, claims_selection, image, files)
    arguments = [
        *arguments_of(values),
        *selection_arguments(names, claims_selection),
        *([f"--junitxml={junitxml}"] if junitxml else []),
        *([f"--alluredir={alluredir}"] if alluredir else []),
        *click.get_current_context().meta[PASSED_ON],
    ]
    outputs = RunOutputs(verdict, metrics, config_map, print_report)
    posts = (ProgressPosts(progress_url),) if progress_url else ()
    code = run_pytest(arguments, plugins=(RefuseUnknownNames(names), outputs, *posts))
    try:
        outputs.write(code, cluster_options(value_of(values)))
    except SuiteError as error:
        click.echo(f"error: {error}", err=True)
        return code or ExitCode.INTERNAL_ERROR
    return code
