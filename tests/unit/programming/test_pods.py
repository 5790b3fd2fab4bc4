"""The sample pods on clusters of several names."""

from __future__ import annotations

from typing import Any

import pytest

from affinity.errors import UsageError
from fixtures.pods import NAMESPACE, on_cluster, sample_manifests

POD: dict[str, Any] = {"metadata": {"name": "webpod2"}, "spec": {"nodeName": "myk8s-worker2", "containers": []}}


def test_a_pod_stays_on_the_node_it_names() -> None:
    assert on_cluster(POD, "myk8s", ["myk8s-worker", "myk8s-worker2"])["spec"]["nodeName"] == "myk8s-worker2"


def test_a_pod_follows_the_clusters_name() -> None:
    placed = on_cluster(POD, "other", ["other-worker", "other-worker2"])

    assert placed["spec"]["nodeName"] == "other-worker2"
    assert placed["metadata"] == {"name": "webpod2", "namespace": NAMESPACE}
    assert POD["spec"]["nodeName"] == "myk8s-worker2"


def test_a_cluster_without_the_node_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"pod webpod2 belongs on node small-worker2, and the cluster has small-worker"
    ):
        on_cluster(POD, "small", ["small-worker"])


def test_the_manifests_have_the_pods_of_the_walk() -> None:
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in sample_manifests()}

    assert nodes == {
        "webpod1": "myk8s-worker",
        "webpod2": "myk8s-worker2",
        "webpod3": "myk8s-worker3",
        "net-pod": "myk8s-control-plane",
    }
