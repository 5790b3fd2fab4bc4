"""The sample manifests: their pods, their Service, and images that the embedded cluster has."""

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


def full_name(image: str) -> str:
    """Return the full name, with registry, of an image in the pods of an embedded cluster."""
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


def test_the_client_idles_on_the_control_plane_and_is_not_an_endpoint() -> None:
    [pod] = documents("net-pod.yaml")
    [container] = pod["spec"]["containers"]
    assert pod["spec"]["nodeName"] == "myk8s-control-plane"
    assert pod["metadata"]["labels"] == PART_OF
    assert [*container["command"], *container["args"]] == ["tail", "-f", "/dev/null"]


def test_the_service_selects_the_endpoints_and_sets_no_affinity() -> None:
    [service] = documents("svc-clusterip.yaml")
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "webpod"},
        "ports": [{"name": "svc-webport", "port": 9000, "targetPort": 80}],
    }


@pytest.mark.parametrize(("name", "image"), [("webpods.yaml", build.WHOAMI), ("net-pod.yaml", build.NETSHOOT)])
def test_pods_use_an_existing_image_and_terminate_without_grace_period(name: str, image: str) -> None:
    for pod in documents(name):
        spec = pod["spec"]
        [container] = spec["containers"]
        assert full_name(container["image"]) == image
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert spec["terminationGracePeriodSeconds"] == 0
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
