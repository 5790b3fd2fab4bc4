"""The cluster of an inspection: one that runs already, with access to its nodes where there is any.

Nothing is started. Without --node-access agent nothing is created either: neither namespace nor pod.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from session_affinity import extras
from session_affinity.clusters import choice
from session_affinity.clusters.external import access, discovery, provider
from session_affinity.clusters.options import NO_ACCESS
from session_affinity.dataplane.proxy_config import ProxyConfigs
from session_affinity.errors import ClusterError, SuiteError, UsageError
from session_affinity.inspection.clock import provide_clock
from session_affinity.inspection.observation import Unread
from session_affinity.kube.api import Api
from session_affinity.nodes.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.nodes.node import Node
    from session_affinity.progress import Progress

DEFAULT_NAMESPACE: Final = "default"
_NODES: Final = "rules and affinity entries on the nodes"


@dataclass(frozen=True)
class InspectedCluster:
    """A running cluster.

    ``nodes`` is empty without access to nodes. ``namespace`` is that of the kubeconfig's context. ``unread`` names what
    cannot be read of the cluster at all.
    """

    api: Api
    nodes: Nodes
    proxy_configs: ProxyConfigs
    namespace: str = DEFAULT_NAMESPACE
    unread: tuple[Unread, ...] = ()


@contextlib.contextmanager
def open_cluster(options: ClusterOptions, progress: Progress) -> Iterator[InspectedCluster]:
    """Yield the cluster that the options name; with agents, they run meanwhile in a namespace of their own.

    Raises UsageError when the options name none that runs, ClusterError when its API does not answer.
    """
    if options.is_external:
        choice.check(options)
        with _external(options, progress) as cluster:
            yield cluster
        return
    kept = _kept(options)
    api = Api(kept.kubeconfig, request_seconds=options.deadlines.api_request)
    yield InspectedCluster(api, Nodes(kept.nodes, deadlines=options.deadlines), kept.proxy_configs)


@contextlib.contextmanager
def _external(options: ClusterOptions, progress: Progress) -> Iterator[InspectedCluster]:
    route = access.read(options.kubeconfig, options.context)
    access.require_answer(route, deadlines=options.deadlines)
    api = Api(route.kubeconfig, context=route.context, request_seconds=options.deadlines.api_request)
    namespace = access.default_namespace(route) or DEFAULT_NAMESPACE
    with contextlib.ExitStack() as at_end:
        agents, unread = None, [Unread(_NODES, NO_ACCESS)]
        if options.node_access == "agent":
            try:
                agents = at_end.enter_context(provider.open_agents(api, options, progress))
                unread = [Unread(f"node {name}", reason) for name, reason in agents.missing.items()]
            except SuiteError as error:
                unread = [Unread(_NODES, f"{error.what}; {error.next_step}")]
        cluster = _discovered(api, agents.nodes if agents else {}, options, unread)
        if agents is not None:
            try:
                provide_clock(api, agents.namespace, cluster.nodes, cluster.proxy_configs, options.deadlines)
            except ClusterError as error:
                cluster = replace(
                    cluster, unread=(*cluster.unread, Unread("the nodes' clocks", error.what, is_decisive=False))
                )
        yield replace(cluster, namespace=namespace)


def _discovered(api: Api, nodes: Mapping[str, Node], options: ClusterOptions, unread: list[Unread]) -> InspectedCluster:
    try:
        configs = discovery.discover(api, nodes, deadlines=options.deadlines)
    except ClusterError as error:
        nodes, configs = {}, discovery.discover(api, {}, deadlines=options.deadlines)
        unread = [*unread, Unread("the settings of kube-proxy on the nodes", error.what)]
    return InspectedCluster(api, Nodes(nodes, deadlines=options.deadlines), configs, unread=tuple(unread))


def _kept(options: ClusterOptions) -> Cluster:
    """Return the running embedded or kind cluster of that name; raises UsageError when there is none."""
    if _takes(options, "embedded", extras.EMBEDDED):
        from session_affinity.clusters.embedded import cluster as embedded

        if running := embedded.find(options.name):
            return running
    if _takes(options, "kind", extras.KIND) and (kept := _kept_kind(options.name)):
        return kept
    kind = "" if options.cluster == "auto" else f"{options.cluster} "
    raise UsageError(
        f"no {kind}cluster {options.name} runs here, and no kubeconfig is named",
        next_step="name the kubeconfig of your cluster: --kubeconfig FILE; or --cluster-name NAME",
    )


def _takes(options: ClusterOptions, kind: str, extra: str) -> bool:
    """Whether to look for clusters of a kind; raises UsageError when it is named and its packages are missing."""
    if options.cluster == kind:
        extras.require(extra, f"--cluster {kind}")
        return True
    return options.cluster == "auto" and not extras.missing(extra)


def _kept_kind(name: str) -> Cluster | None:
    from session_affinity.clusters.kind import readiness
    from session_affinity.clusters.kind.cluster import KindCluster, nodes_of
    from session_affinity.clusters.kind.engine import detect
    from session_affinity.clusters.kind.state import KindState

    state = KindState(name)
    record = state.record()
    if record is None or not record.started:
        return None
    engine = detect()
    containers = engine.containers(name)
    if not containers or not record.describes(containers):
        return None
    nodes = nodes_of(engine, containers)
    configs = ProxyConfigs.same(readiness.kube_proxy_config(Api(state.kubeconfig)), nodes)
    return KindCluster(name, state.kubeconfig, nodes, configs, record.facts, record.images)
