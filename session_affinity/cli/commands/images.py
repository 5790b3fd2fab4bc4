"""``session-affinity images``: what a run pulls."""

from __future__ import annotations

from typing import Any, Final

import click

from session_affinity.cli.run_options import GroupedCommand, run_options, value_of
from session_affinity.options import OPTIONS, cluster_options

_OPTIONS: Final = {
    *("--cluster", "--node-access", "--image-registry", "--image-tags", "--kubernetes", "--node-image"),
}
_EPILOG: Final = """\
\b
Examples:
  session-affinity images --node-access agent
  session-affinity images --node-access agent --image-registry registry.example.com/mirror
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="List the images that a run pulls.")
@run_options(option for option in OPTIONS if option.name in _OPTIONS)
def command(**values: Any) -> int:
    """List the images that `check` with the same options pulls, one a line, for a mirror or an air-gapped cluster."""
    from session_affinity.clusters.external.provider import images_for

    for image in images_for(cluster_options(value_of(values))):
        click.echo(image)
    return 0
