"""The cluster that walks are made on, and the repair of nodes that a walk found wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.handmade import HandMadeServices
from session_affinity.kube.resources import ENDPOINT_SLICES, NODES, SERVICES
from session_affinity.nodes.kube_proxy import KubeProxies
from session_affinity.scenarios.comparison import compare
from session_affinity.scenarios.walks.run import COMPONENT, Ground
from session_affinity.testbed.testbed import NodeTestbed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.deadlines import Deadlines
    from session_affinity.kube.api import Api, Object
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.releases import Release


def ground_of(cluster: Cluster, api: Api, nodes: Nodes, deadlines: Deadlines, *, is_alone: bool = False) -> Ground:
    """Return a cluster as the ground for walks; what a killed walk left there is deleted. Raises ApiError.

    With ``is_alone`` no other Services change during the walks. The caller closes ``Ground.services``.
    """
    stored = api.objects(NODES)
    configs = cluster.proxy_configs.with_nodes(stored)
    testbed = NodeTestbed(nodes, configs, deadlines)
    services = HandMadeServices(api, cluster.namespace, component=COMPONENT)
    services.delete_all()
    proxies = KubeProxies(nodes, cluster.proxy_configs, cluster.kube_proxy_start, deadlines)
    others = _states(api, nodes.family, configs.oldest_release) if is_alone else None
    return Ground(api, testbed, services, proxies, others)


def _states(api: Api, family: Family, release: Release) -> tuple[ServiceState, ...]:
    """Return the states of all Services of the cluster in a family, as they are for a release of kube-proxy."""
    by_namespace: dict[str, list[Object]] = {}
    for service in api.objects(SERVICES):
        by_namespace.setdefault(service["metadata"]["namespace"], []).append(service)
    return tuple(
        state
        for namespace, services in by_namespace.items()
        for state in handmade.states(services, api.objects(ENDPOINT_SLICES, namespace), family=family, release=release)
    )


def heal(ground: Ground, nodes: Iterable[str]) -> None:
    """Restart the kube-proxies of nodes and wait for their first sync: nothing of a walk is to show in the next one.

    Raises NodeError and NotReadyError.
    """
    restarted = tuple(dict.fromkeys(nodes))
    for node in restarted:
        ground.proxies.restart(node)
    if restarted:
        testbed = replace(ground.testbed, nodes=ground.testbed.nodes.only(restarted))
        compare(testbed, ground.services, since=time.monotonic()).require()
