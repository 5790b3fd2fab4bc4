"""Sample pods whose node fails during a run: endpoints are replaced, and a violated claim does not count any more."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.pods import SamplePods, replace_lost, sample_manifests
from session_affinity.clusters.external.cluster import ExternalCluster
from session_affinity.clusters.external.placement import Placement
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.kube.resources import NODES, PODS, Resource

pytestmark = pytest.mark.unit

PLACES = {"webpod1": "a", "webpod2": "b", "webpod3": "c", "net-pod": "d"}


def status(*, ready: bool) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": str(ready)}]}


class Api:
    """A cluster with the sample pods on four nodes."""

    def __init__(self) -> None:
        manifests = {pod["metadata"]["name"]: pod for pod in sample_manifests()}
        self.pods = {
            name: {**pod, "spec": {**pod["spec"], "nodeName": PLACES[name]}, "status": status(ready=True)}
            for name, pod in manifests.items()
        }
        self.nodes = {name: {"metadata": {"name": name}, "status": status(ready=True)} for name in PLACES.values()}

    def fail(self, node: str) -> None:
        self.nodes[node]["status"] = status(ready=False)
        for pod in self.pods.values():
            if pod["spec"]["nodeName"] == node:
                pod["status"] = status(ready=False)

    def objects(self, resource: Resource, *_: object, **__: object) -> list[dict[str, Any]]:
        return list({PODS: self.pods, NODES: self.nodes}.get(resource, {}).values())

    def delete(self, _: Resource, name: str, *__: object, **___: object) -> None:
        del self.pods[name]

    def create(self, pod: dict[str, Any]) -> dict[str, Any]:
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (node,) = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"]
        stored = {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status(ready=True)}
        self.pods[pod["metadata"]["name"]] = stored
        return stored


CLUSTER: Any = ExternalCluster("c", None, "c", "ns", Placement(PLACES))


def test_pods_that_run_are_left_alone() -> None:
    api: Any = Api()
    sample_pods = SamplePods(dict(api.pods), "ns")

    replace_lost(api, CLUSTER, sample_pods, DEFAULTS)
    sample_pods.require_running(api)

    assert {name: sample_pods.node(name) for name in PLACES} == PLACES


def test_an_endpoint_on_a_failed_node_is_replaced_on_another_and_violations_do_not_count() -> None:
    api: Any = Api()
    sample_pods = SamplePods(dict(api.pods), "ns")
    api.fail("c")

    with pytest.raises(ClusterError, match="the run lost webpod3: not Ready any more on c"):
        sample_pods.require_running(api)
    replace_lost(api, CLUSTER, sample_pods, DEFAULTS)

    assert {name: sample_pods.node(name) for name in PLACES} == {**PLACES, "webpod3": "a"}
    assert api.pods["webpod3"]["metadata"]["namespace"] == "ns"
    with pytest.raises(ClusterError, match="the run lost webpod3: its node c is not Ready\n"):
        sample_pods.require_running(api)


def test_the_client_is_not_replaced() -> None:
    api: Any = Api()
    sample_pods = SamplePods(dict(api.pods), "ns")
    api.fail("d")

    replace_lost(api, CLUSTER, sample_pods, DEFAULTS)

    assert sample_pods.node("net-pod") == "d"
    with pytest.raises(ClusterError, match="net-pod: not Ready any more on d"):
        sample_pods.require_running(api)


def test_a_pod_that_is_not_ready_on_a_ready_node_is_not_replaced() -> None:
    api: Any = Api()
    sample_pods = SamplePods(dict(api.pods), "ns")
    api.pods["webpod2"]["status"] = status(ready=False)

    replace_lost(api, CLUSTER, sample_pods, DEFAULTS)

    assert (sample_pods.node("webpod2"), sample_pods.lost) == ("b", {})
