"""``session-affinity cleanup``: remove what runs that were killed left on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from session_affinity.cli.run_options import GroupedCommand, run_options, value_of
from session_affinity.options import OPTIONS, cluster_options

if TYPE_CHECKING:
    from session_affinity.clusters.external.leftovers import Leftover
    from session_affinity.kube.api import Api

_OPTIONS: Final = ("--kubeconfig", "--context", "--deadline-scale")
_EPILOG: Final = """\
\b
Examples:
  session-affinity cleanup --kubeconfig FILE --dry-run         what there is, and whose
  session-affinity cleanup --kubeconfig FILE                   what is known to be left over
  session-affinity cleanup --kubeconfig FILE --all             everything, also of runs that still go on
  session-affinity cleanup --kubeconfig FILE --namespace team-a --all

Everything that a run creates on a cluster of yours has the label app.kubernetes.io/part-of=session-affinity-conformance
and an annotation with the time at which it expires.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Remove what killed runs left on your cluster.")
@click.option("--all", "everything", is_flag=True, help="Remove everything of the suite, also of runs that go on.")
@click.option("--expired", is_flag=True, help="Remove what has expired or was left by a run of this machine. Default.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--namespace", metavar="NAME", help="Look in this namespace only. Default: in all.")
@run_options(option for option in OPTIONS if option.name in _OPTIONS)
def command(*, everything: bool, expired: bool, dry_run: bool, namespace: str | None, **values: Any) -> int:
    """Remove what runs of the suite that were killed left on your cluster, whoever started them, on any machine.

    By default only what no run uses: what has expired, six hours after its creation, and what a run of this machine
    left whose process has ended.
    """
    from session_affinity.clusters.external import access, leftovers
    from session_affinity.kube.api import Api

    if everything and expired:
        raise click.UsageError("--all and --expired exclude each other")
    options = cluster_options(value_of(values))
    route = access.read(options.kubeconfig, options.context)
    access.require_answer(route, deadlines=options.deadlines)
    api = Api(route.kubeconfig, context=route.context, request_seconds=options.deadlines.api_request)
    found = _found(api, namespace)
    chosen = [leftover for leftover in found if everything or leftover.is_over]
    for leftover in found:
        fate = ("would be removed" if dry_run else "removed") if leftover in chosen else "left alone (--all removes it)"
        click.echo(f"{leftover}; {fate}")
    if not dry_run:
        leftovers.remove(api, chosen, deadlines=options.deadlines)
    if not found:
        click.echo("nothing of the suite is there")
    return 0


def _found(api: Api, namespace: str | None) -> list[Leftover]:
    """Return what runs have on the cluster, or in one namespace; says which kinds of objects this user may not list."""
    from session_affinity.clusters.external import leftovers
    from session_affinity.clusters.external.namespace import PREFIX
    from session_affinity.kube.api import ApiError

    found: list[Leftover] = []
    if namespace is None or namespace.startswith(PREFIX):
        try:
            found = [each for each in leftovers.find_namespaces(api) if namespace in (None, each.namespace)]
        except ApiError as error:
            if error.status != 403:
                raise
            click.echo(f"namespaces that runs made were not looked for: {error.what}", err=True)
    made = [each.namespace for each in found]
    for kind in leftovers.KINDS:
        try:
            leftovers.add(found, leftovers.find_objects(api, namespace or "", kinds=(kind,), without=made))
        except ApiError as error:
            if error.status != 403:
                raise
            click.echo(f"{kind.plural} were not looked for: {error.what}", err=True)
    return found
