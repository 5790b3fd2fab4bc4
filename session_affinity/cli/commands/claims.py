"""``session-affinity claims``: the list of claims."""

from __future__ import annotations

from typing import Final

import click

from session_affinity.cli.pytest_run import run_pytest
from session_affinity.cli.selection import RefuseUnknownNames, selection_arguments, selection_options

_EPILOG: Final = """\
\b
Examples:
  session-affinity claims
  session-affinity claims rules lists
  session-affinity claims -m 'kube_proxy and not disruptive' --format json
"""


@click.command(epilog=_EPILOG, short_help="List the claims.")
@selection_options
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("table", "json")),
    default="table",
    help="A table, or JSON with everything that is known of each claim. Default: table.",
)
def command(names: tuple[str, ...], claims_selection: str, output_format: str) -> int:
    """List claims: id, who promises it, the proxy modes it is judged in, subject, title and source.

    Lists all claims, or those of the given ids and subjects. Needs no cluster.
    """
    arguments = ("--claims", f"--claims-format={output_format}", *selection_arguments(names, claims_selection))
    return run_pytest(arguments, plugins=(RefuseUnknownNames(names),))
