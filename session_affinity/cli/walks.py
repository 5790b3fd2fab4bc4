"""Long walks on a cluster of the suite's own, with their progress and what they found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from session_affinity.clusters.choice import open_cluster
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.errors import NotReadyError, SuiteError, UsageError
from session_affinity.kube.api import Api
from session_affinity.nodes.nodes import Nodes
from session_affinity.progress import Progress
from session_affinity.scenarios.walks.ground import ground_of, heal
from session_affinity.scenarios.walks.run import run_walk
from session_affinity.scenarios.walks.search import Limits, Search
from session_affinity.scenarios.walks.steps import Scope
from session_affinity.scenarios.walks.walk import kinds
from session_affinity.verdicts.walks import judge_walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import ProgressStep
    from session_affinity.scenarios.walks.result import WalkResult
    from session_affinity.scenarios.walks.run import Ground
    from session_affinity.scenarios.walks.walk import Move

_MOST_LINES: Final = 40
"""How many lines of findings, or of a log, are printed."""


def make_walks(options: ClusterOptions, seed: int, limits: Limits) -> int:
    """Make walks on the cluster of the options and return the exit code; raises SuiteError."""
    progress = Progress()
    with open_cluster(options, progress) as cluster:
        if not cluster.is_ours:
            raise UsageError(
                f"walks stop kube-proxies and label nodes: not on a cluster that is {cluster.provider}",
                next_step="leave out --kubeconfig: a cluster is started for the walks",
            )
        api = Api(cluster.kubeconfig, context=cluster.context, request_seconds=options.deadlines.api_request)
        nodes = Nodes(cluster.nodes, deadlines=options.deadlines)
        ground = ground_of(cluster, api, nodes, options.deadlines, is_alone=True)
        with ground.services, progress.step(f"walks with seed {seed}") as step:
            search = _search(cluster, ground, limits, step, f"seed {seed}")
            try:
                search.find(kinds(Scope.NODES), seed)
            except NotReadyError:
                _report_right(search.results, seed)
                raise
    _report_right(search.results, seed)
    return _report_wrong(search)


def _search(cluster: Cluster, ground: Ground, limits: Limits, step: ProgressStep, what: str) -> Search:
    search: Search

    def update(detail: str) -> None:
        walks = f"{len(search.results)} right walks, {sum(result.steps for result in search.results)} edits"
        if search.best is not None:
            walks = f"shrunk to {search.best[1].steps} steps, attempt {search.attempts}"
        step.update(f"{walks}; {detail}")

    def walk_once(walk: Sequence[Move]) -> WalkResult:
        result = run_walk(ground, walk, what, on_step=lambda number, title: update(f"{number}/{len(walk)} {title}"))
        if search.best is None and not result.is_wrong:
            # A late node ends the search, and the cluster goes with the command.
            for node in result.failed_syncs:
                click.echo(end_of_log(cluster, node))
        heal(ground, {*result.differences, *result.leftovers, *result.failed_syncs, *result.lost_addresses})
        return result

    search = Search(ground.nodes, walk_once, limits)
    return search


def end_of_log(cluster: Cluster, node: str) -> str:
    """Return the last lines of the log of a node's kube-proxy, or why there are none, with a line that says whose."""
    try:
        log = cluster.dataplane_log(node)
    except SuiteError as error:
        log = str(error)
    return "\n  ".join((f"{node}: the end of the log of its kube-proxy:", *log.splitlines()[-_MOST_LINES:]))


def _report_right(results: Sequence[WalkResult], seed: int) -> None:
    """Print what the walks showed that were right."""
    known = sum((Counter(result.known) for result in results), Counter[str]())
    refused = list(dict.fromkeys(text for result in results for text in result.refused))
    click.echo(
        f"seed {seed}: {len(results)} walks were right: {sum(result.steps for result in results)} edits in"
        f" {sum(result.waits for result in results)} batches, {sum(result.compared for result in results)} times the"
        f" rules of a Service on a node as computed, {sum(result.kept for result in results)} times a client still"
        f" bound, slowest after {max((result.slowest for result in results), default=0):.1f} s"
    )
    for what, count in known.items():
        click.echo(f"  as known, {count} times: {what}")
    for text in refused:
        click.echo(f"  refused: {text}")


def _report_wrong(search: Search) -> int:
    """Print what the wrong walk showed, where there was one; return the exit code."""
    if search.best is None:
        return ExitCode.HOLDS
    result = search.best[1]
    verdict = judge_walk(result)
    lines = [line for finding in verdict.findings for line in finding.lines()]
    click.echo(f"{', '.join(dict.fromkeys(finding.where for finding in verdict.findings))}: {verdict.headline}")
    for line in lines[:_MOST_LINES]:
        click.echo(f"  {line}")
    click.echo(f"the {result.steps} steps that cause it, after {search.attempts} attempts to make them fewer:")
    click.echo(result.script)
    return ExitCode.VIOLATED
