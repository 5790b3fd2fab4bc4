"""``session-affinity walk``: random edits of Services on a cluster of the suite's own, until a node goes wrong."""

from __future__ import annotations

import random
from typing import Any, Final

import click

from session_affinity import extras
from session_affinity.cli.exit_codes import undetermined_on_error
from session_affinity.cli.run_options import GroupedCommand, run_options, value_of
from session_affinity.options import OPTIONS

_NAMES: Final = (
    "--cluster",
    "--kubernetes",
    "--proxy-mode",
    "--ip-family",
    "--kube-proxy",
    "--node-image",
    "--keep-cluster",
    "--cluster-name",
    "--deadline-scale",
)
_OPTIONS: Final = tuple(option for option in OPTIONS if option.name in _NAMES)
_MOST_SEEDS: Final = 10**6
_EPILOG: Final = """\
\b
Examples:
  session-affinity walk --minutes 30
  session-affinity walk --seed 4711 --proxy-mode nftables            the same walks again
  session-affinity walk --kube-proxy ./kube-proxy --kubernetes 1.37  your own build of kube-proxy

\b
Exit codes:
  0  all nodes had the expected rules after every batch of edits
  1  a node did not; the edits that cause it are printed as commands
  4  unusable options
  10 no node was wrong, but the walks could not be made, or a node was not ready in time

A seed gives the same walks with the same versions of this program and of Hypothesis, which draws them (the extra
[walk]): from a checkout others than from an installed package.
docs/findings.md has what walks have found.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Edit Services at random until a node goes wrong.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The seed of the walks. Default: a new one, printed.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    metavar="MINUTES",
    help="How long walks are made. Default: 10.",
)
@click.option(
    "--shrinking-minutes",
    type=click.FloatRange(0),
    default=10.0,
    metavar="MINUTES",
    help="How long a walk after which a node is wrong is then shrunk at most. Default: 10.",
)
@run_options(_OPTIONS)
@undetermined_on_error
def command(seed: int | None, minutes: float, shrinking_minutes: float, **values: Any) -> int:
    """Edit Services and EndpointSlices at random, and compare all nodes with the expected rules after each batch.

    Also restarts and pauses kube-proxies, makes their syncs fail for a while, and moves nodes to other zones: on a
    cluster that the suite starts for it, or one of its own that was kept. When a node goes wrong, the edits are shrunk
    to the few that cause it, and printed as commands.
    """
    extras.require(extras.WALK, "a walk")
    from session_affinity.cli.walks import make_walks
    from session_affinity.options import cluster_options
    from session_affinity.scenarios.walks.search import Limits

    options = cluster_options(value_of(values))
    chosen = random.SystemRandom().randrange(_MOST_SEEDS) if seed is None else seed
    return make_walks(options, chosen, Limits(minutes * 60, shrinking_minutes * 60))
