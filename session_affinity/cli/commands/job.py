"""``session-affinity job``: the suite as a Job of the cluster that it judges."""

from __future__ import annotations

from typing import Any, Final

import click

from session_affinity import about
from session_affinity.cli.run_options import (
    PASSED_ON,
    GroupedCommand,
    GroupedOption,
    arguments_of,
    run_options,
    value_of,
)
from session_affinity.cli.selection import selection_arguments, selection_options
from session_affinity.options import CLUSTER_GROUP, OPTIONS, cluster_options

HEADING: Final = "The Job"
OUTSIDE: Final = frozenset(
    (
        # of clusters that a run starts
        *(option.name for option in OPTIONS if option.group is CLUSTER_GROUP),
        # of the machine that a run is started on
        *("--kubeconfig", "--context", "--in-cluster-credentials", "--outside-client"),
        *("--implementation", "--differences", "--report", "--evidence"),
        # of a namespace that the run makes
        *("--namespace", "--namespace-label", "--namespace-annotation"),
    )
)
"""Options of a run that mean nothing to a Job, or that it sets itself."""
IN_CLUSTER_OPTIONS: Final = tuple(option for option in OPTIONS if option.name not in OUTSIDE)
_EPILOG: Final = """\
\b
Examples:
  session-affinity job --node-access agent | kubectl apply -f -
  kubectl wait -n session-affinity-conformance job/session-affinity-conformance --for=condition=Complete
  kubectl get -n session-affinity-conformance configmap session-affinity-conformance -o jsonpath='{.data.verdict}'
  session-affinity job --node-access agent | kubectl delete -f -
  session-affinity job --schedule '17 3 * * *' --results-volume conformance     every night, with files on a volume

The Job ends as `check` does: exit code of the container, verdict as its termination message, report in the ConfigMap
and at the end of the log. `check --in-cluster` starts such a Job, waits for it and removes it.
docs/in-the-cluster.md of the repository says more.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Print a Job that runs the suite in the cluster.")
@selection_options
@click.option("--image", cls=GroupedOption, heading=HEADING, default=about.IMAGE, help=f"Default: {about.IMAGE}.")
@click.option(
    "--namespace",
    cls=GroupedOption,
    heading=HEADING,
    metavar="NAME",
    help="An existing namespace for the Job and all that it creates. Default: one of its own, which is printed too.",
)
@click.option(
    "--schedule",
    cls=GroupedOption,
    heading=HEADING,
    metavar="CRON",
    default="",
    help="Print a CronJob with this schedule. Default: a Job.",
)
@click.option(
    "--results-volume",
    cls=GroupedOption,
    heading=HEADING,
    metavar="CLAIM",
    default="",
    help="Keep report.yaml and metrics.prom on this PersistentVolumeClaim. Default: in the ConfigMap alone.",
)
@click.option(
    "--job-deadline",
    cls=GroupedOption,
    heading=HEADING,
    metavar="SECONDS",
    type=click.IntRange(min=60),
    default=1800,
    help="Stop the Job after this time. Default: 1800.",
)
@click.option(
    "--ttl",
    cls=GroupedOption,
    heading=HEADING,
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=86400,
    help="Remove the Job and its pod this long after its end; the ConfigMap stays. Default: 86400.",
)
@click.option(
    "--minimal", cls=GroupedOption, heading=HEADING, is_flag=True, help="Leave out optional rights. Default: with them."
)
@run_options(IN_CLUSTER_OPTIONS)
def command(
    names: tuple[str, ...],
    claims_selection: str,
    *,
    image: str,
    namespace: str | None,
    schedule: str,
    results_volume: str,
    job_deadline: int,
    ttl: int,
    minimal: bool,
    **values: Any,
) -> int:
    """Print a Job that judges the cluster from inside, with namespace and rights, as YAML for kubectl apply -f.

    It takes the options of `check`. Its ServiceAccount has the rights that `session-affinity rbac` prints for them.
    """
    from session_affinity.clusters.external import job as jobs
    from session_affinity.clusters.external.pod_settings import settings_of

    values["namespace"] = namespace or jobs.NAME
    values["agent_image"] = agent_image_of(values, image)
    options = cluster_options(value_of(values))
    job = jobs.JobSettings(
        image=image,
        arguments=run_arguments(values, names, claims_selection),
        schedule=schedule,
        deadline_seconds=job_deadline,
        ttl_seconds=ttl,
        volume_claim=results_volume,
        minimal=minimal,
        settings=settings_of(options),
    )
    click.echo(jobs.text(job, options, with_namespace=namespace is None), nl=False)
    return 0


def agent_image_of(values: dict[str, Any], image: str) -> str | None:
    """Return the image of the agents: the suite's own, unless another is named."""
    return values.get("agent_image") or (image if values.get("node_access") == "agent" else None)


def run_arguments(values: dict[str, Any], names: tuple[str, ...], expression: str) -> tuple[str, ...]:
    """Return the arguments by which the pod's ``check`` gets options and selection."""
    passed = {name: value for name, value in values.items() if name != "namespace"}
    selected = tuple(selection_arguments(names, expression))
    passed_on = click.get_current_context().meta[PASSED_ON]
    # selection_arguments are pytest's: -m EXPRESSION.
    chosen = (f"--claims-selection={selected[1]}",) if selected else ()
    return (*arguments_of(passed), *chosen, *(("--", *passed_on) if passed_on else ()))
