"""``session-affinity rbac``: the rights that a run needs."""

from __future__ import annotations

from typing import Any, Final

import click

from session_affinity.cli.run_options import GroupedCommand, run_options, value_of
from session_affinity.options import OPTIONS, cluster_options

_OPTIONS: Final = (*("--node-access", "--namespace", "--agent-namespace", "--pull-secret"),)
_EPILOG: Final = """\
\b
Examples:
  session-affinity rbac --node-access agent --service-account ci/conformance | kubectl apply -f -
  session-affinity rbac --namespace team-a --user jane@example.com | kubectl apply -f -
  session-affinity rbac --namespace team-a --minimal                roles only, without what a run can do without

A run that creates its namespace needs its rights in all namespaces, as that one does not exist yet; with --namespace it
needs them in that one only. docs/external-clusters.md of the repository says more.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Print the rights that a run needs.")
@click.option(
    "--service-account",
    metavar="[NAMESPACE/]NAME",
    help="Create this ServiceAccount and bind the rights to it. Default namespace: that of --namespace, else default.",
)
@click.option("--user", metavar="NAME", help="Bind the rights to this user.")
@click.option("--group", metavar="NAME", help="Bind the rights to this group.")
@click.option(
    "--config-map", metavar="[NAMESPACE/]NAME", help="Also the right to write the result there. Default: none."
)
@click.option("--minimal", is_flag=True, help="Leave out optional rights. Default: with them, marked by a comment.")
@run_options(option for option in OPTIONS if option.name in _OPTIONS)
def command(
    service_account: str | None,
    user: str | None,
    group: str | None,
    config_map: str | None,
    *,
    minimal: bool,
    **values: Any,
) -> int:
    """Print the rights that `check` with the same options needs on your cluster, as YAML for kubectl apply -f.

    Roles come with the rights and no more; without --service-account, --user or --group nothing is bound.
    """
    from session_affinity.clusters.external import rbac

    options = cluster_options(value_of(values))
    subjects = [("ServiceAccount", service_account), ("User", user), ("Group", group)]
    named = [(kind, name) for kind, name in subjects if name]
    if len(named) > 1:
        raise click.UsageError("--service-account, --user and --group exclude each other")
    subject = None
    for kind, name in named:
        namespace, _, short = name.rpartition("/") if kind == "ServiceAccount" else ("", "", name)
        subject = rbac.Subject(kind, short, namespace or options.namespace or "default")
    result = rbac.ConfigMapName.of(config_map, options.namespace or "") if config_map else None
    click.echo(rbac.text(rbac.rules(options, minimal=minimal, config_map=result), subject), nl=False)
    return 0
