"""``session-affinity report``: conformance reports, checked, shown and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import yaml

from session_affinity.cli.pytest_run import catalogue
from session_affinity.conformance import overview, report, sonobuoy
from session_affinity.conformance.result import digest
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.claims.catalogue import ClaimTest

_NOT_VALID: Final = 1
_EPILOG: Final = """\
\b
Examples:
  session-affinity check --kubeconfig FILE --report report.yaml     makes a report
  session-affinity report check report.yaml
  session-affinity report show report.yaml
  session-affinity report table reports/ report.yaml
  session-affinity report schema > schema.json

docs/report.md of the repository says what a report has, and how to submit one.
"""
_FILE: Final = click.Path(path_type=Path)


@click.group(epilog=_EPILOG, short_help="Check, show and compare conformance reports.")
def command() -> None:
    """Check, show and compare conformance reports, which `check --report FILE` writes. Needs no cluster."""


@command.command()
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
def check(files: tuple[Path, ...]) -> int:
    """Check that reports are valid: their schema, that every claim is there once, and that no branch is a version.

    Names every problem of every file. The exit code is 0 when all are valid, else 1. A report that was made with
    another catalogue of claims is valid when it has as many claims as it says its catalogue has.
    """
    claims = catalogue()
    problems = {file: _problems(file, claims) for file in files}
    for file, lines in problems.items():
        if not lines:
            click.echo(f"{file}: valid; {_catalogue_of(file, claims)}")
        else:
            click.echo(f"{file}: not valid")
            for line in lines:
                click.echo(f"  {line}")
    return _NOT_VALID if any(problems.values()) else 0


@command.command()
@click.argument("file", type=_FILE)
def show(file: Path) -> None:
    """Show a report: implementation, cluster, profiles, and the claims that did not pass."""
    document = report.read(file)
    report.require_valid(document, str(file))
    for line in overview.summary(document):
        click.echo(line)


@command.command()
@click.argument("places", nargs=-1, required=True, type=_FILE, metavar="FILE|DIRECTORY...")
def table(places: tuple[Path, ...]) -> None:
    """Print reports as a Markdown table of implementations and profiles.

    Of a directory it reads the files *report.yaml and *report.json below it. Reports that were made with another
    catalogue of claims are marked.
    """
    for line in overview.table(overview.read_reports(places), digest(catalogue().values())):
        click.echo(line)


@command.command(name="sonobuoy")
@click.argument("file", type=_FILE)
def sonobuoy_results(file: Path) -> None:
    """Print a report in Sonobuoy's manual results format, which manifests/sonobuoy-plugin.yaml returns."""
    click.echo(yaml.safe_dump(sonobuoy.results(report.read(file)), sort_keys=False, allow_unicode=True), nl=False)


@command.command()
def schema() -> None:
    """Print the JSON Schema of reports."""
    click.echo(json.dumps(report.schema(), indent=2))


def _problems(file: Path, claims: Mapping[str, ClaimTest]) -> tuple[str, ...]:
    try:
        return report.problems(report.read(file), claims)
    except UsageError as error:
        return (error.what,)


def _catalogue_of(file: Path, claims: Mapping[str, ClaimTest]) -> str:
    """Return which catalogue a valid report was made with."""
    suite = report.read(file)["suite"]
    if suite["catalogueDigest"] == digest(claims.values()):
        return f"all {suite['claims']} claims of this suite"
    return f"made with another catalogue of {suite['claims']} claims, that of suite {suite['version']}"
