"""``session-affinity inspect``: why affinity of a Service of one's own does not work."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any, Final

import click

from session_affinity.cli.exit_codes import undetermined_on_error
from session_affinity.cli.run_options import GroupedCommand, run_options, value_of
from session_affinity.options import CLAIMS_GROUP, CLUSTER_GROUP, OPTIONS, cluster_options

_HELP: Final = {
    "--kubeconfig": "Inspect a Service of this kubeconfig's cluster. It is only read. Default: none; no cluster is used"
    " without this option or a kept cluster of --cluster-name.",
    "--context": "The context of the kubeconfig, whose namespace is the default one. Default: its current context.",
    "--node-access": "How the nodes are read: none leaves them out, agent runs a DaemonSet in a namespace of its own,"
    " which is removed at the end. Default: none.",
    "--cluster": "Where a running cluster of this machine is looked for: embedded or kind. Their nodes are read"
    " directly. Default: auto, both.",
    "--cluster-name": "The name of that embedded or kind cluster. Default: myk8s.",
    "--image-registry": "Pull the image of the agent from this mirror. Default: the registry it is published in.",
    "--image-tags": "Name the image by tag, for a mirror whose digests differ. Default: by digest.",
    "--deadline-scale": "Multiply every deadline by this factor, for a slow machine or cluster. Default: 1.",
}
_GROUPS: Final = {
    CLUSTER_GROUP: replace(CLUSTER_GROUP, heading="a cluster of this machine"),
    CLAIMS_GROUP: replace(CLAIMS_GROUP, heading="waiting"),
}
_OPTIONS: Final = tuple(
    replace(option, help=_HELP[option.name], group=_GROUPS.get(option.group, option.group))
    for option in OPTIONS
    if option.name in _HELP
)
_EPILOG: Final = """\
\b
Examples:
  session-affinity inspect -n shop --kubeconfig FILE cart                        the Service and the API
  session-affinity inspect -n shop --kubeconfig FILE --node-access agent cart    and every node
  session-affinity inspect shop/cart --cluster embedded --cluster-name dev -o json

\b
Exit codes:
  0   all nodes have the expected rules, and nothing was found that keeps affinity from working
  1   a node's rules differ, or something keeps affinity from working
  4   unusable options, or no such Service
  10  nothing was found that keeps it from working, but not everything could be read (as without access to nodes)

docs/why-is-my-affinity-not-working.md explains the diagnoses and the keys of -o json.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Find out why a Service's affinity does not work.")
@click.argument("service", metavar="[NAMESPACE/]SERVICE")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the Service. Default: that of the context.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("text", "json")),
    default="text",
    help="Text on one screen, or JSON with everything. Default: text.",
)
@run_options(_OPTIONS)
@undetermined_on_error
def command(service: str, namespace: str | None, output: str, **values: Any) -> int:
    """Find out why session affinity of one of your own Services does not work.

    Reads the Service, its EndpointSlices, events and pods, and every node where it has access: whether their rules are
    the expected ones, which client is bound to which endpoint and for how long, and what keeps affinity from working.
    Changes nothing.
    """
    from session_affinity.inspection.as_json import as_json
    from session_affinity.inspection.as_text import print_text
    from session_affinity.inspection.cluster import open_cluster
    from session_affinity.inspection.collect import collect
    from session_affinity.inspection.result import Inspection
    from session_affinity.progress import Progress

    named, _, name = service.rpartition("/")
    if named and namespace and named != namespace:
        raise click.UsageError(f"-n {namespace} contradicts {service}")
    if not name:
        raise click.UsageError(f"{service} names no Service")
    with open_cluster(cluster_options(value_of(values)), Progress()) as cluster:
        began = time.monotonic()
        observation = collect(cluster, named or namespace or cluster.namespace, name)
        inspection = Inspection.of(observation, time.monotonic() - began)
        if output == "json":
            click.echo(json.dumps(as_json(inspection), indent=2))
        else:
            print_text(inspection, sys.stdout)
    return inspection.exit_code
