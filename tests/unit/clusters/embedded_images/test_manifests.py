"""The manifests are those of the walk, and ask for images that the embedded cluster has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from session_affinity.clusters.cluster import OwnCluster
from session_affinity.clusters.embedded.images import build

pytestmark = pytest.mark.unit

MANIFESTS = Path(__file__).parents[4] / "manifests"
PART_OF = {"app.kubernetes.io/part-of": "session-affinity-conformance"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def complete(image: str) -> str:
    """Return what the kubelet makes of the short name by which an embedded cluster's pods ask for an image."""
    return f"docker.io/{OwnCluster().image_name(image)}"


def test_each_worker_has_one_endpoint() -> None:
    pods = documents("webpods.yaml")
    assert {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods} == {
        "webpod1": "myk8s-worker",
        "webpod2": "myk8s-worker2",
        "webpod3": "myk8s-worker3",
    }
    assert all(pod["metadata"]["labels"] == {"app": "webpod", **PART_OF} for pod in pods)
    assert all({**pod["spec"], "nodeName": ""} == {**pods[0]["spec"], "nodeName": ""} for pod in pods)


def test_the_client_waits_on_the_control_plane_and_is_no_endpoint() -> None:
    [pod] = documents("net-pod.yaml")
    [container] = pod["spec"]["containers"]
    assert pod["spec"]["nodeName"] == "myk8s-control-plane"
    assert pod["metadata"]["labels"] == PART_OF
    assert [*container["command"], *container["args"]] == ["tail", "-f", "/dev/null"]


def test_the_service_selects_the_endpoints_and_leaves_affinity_to_the_default() -> None:
    [service] = documents("svc-clusterip.yaml")
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "webpod"},
        "ports": [{"name": "svc-webport", "port": 9000, "targetPort": 80}],
    }


@pytest.mark.parametrize(("name", "image"), [("webpods.yaml", build.WHOAMI), ("net-pod.yaml", build.NETSHOOT)])
def test_pods_ask_for_an_image_that_is_there_and_end_at_once(name: str, image: str) -> None:
    for pod in documents(name):
        spec = pod["spec"]
        [container] = spec["containers"]
        assert complete(container["image"]) == image
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert spec["terminationGracePeriodSeconds"] == 0
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
