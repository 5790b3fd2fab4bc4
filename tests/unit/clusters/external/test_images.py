"""The images of a run, and their names in a mirror."""

from __future__ import annotations

import pytest

from fixtures.pods import sample_manifests
from session_affinity.clusters.external import agent
from session_affinity.clusters.external.cluster import ExternalCluster
from session_affinity.clusters.external.images import ImageSource, images_of, mirrored
from session_affinity.clusters.external.placement import Placement
from session_affinity.clusters.external.provider import images_for
from session_affinity.clusters.options import ClusterOptions

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("traefik/whoami", "mirror.example:5000/k8s/traefik/whoami", id="short"),
        pytest.param("docker.io/traefik/whoami:v1", "mirror.example:5000/k8s/traefik/whoami:v1", id="host"),
        pytest.param("localhost:5000/a/b", "mirror.example:5000/k8s/a/b", id="host-with-port"),
        pytest.param("localhost/a", "mirror.example:5000/k8s/a", id="localhost"),
        pytest.param("busybox:1.36", "mirror.example:5000/k8s/busybox:1.36", id="no-repository"),
        pytest.param("a/b@sha256:01ab", "mirror.example:5000/k8s/a/b@sha256:01ab", id="digest"),
    ],
)
def test_a_mirror_has_an_image_below_its_prefix(image: str, expected: str) -> None:
    assert mirrored(image, "mirror.example:5000/k8s/") == expected


def test_without_a_mirror_names_are_left_alone() -> None:
    assert mirrored("traefik/whoami", None) == "traefik/whoami"


@pytest.mark.parametrize("access", ["none", "agent"])
@pytest.mark.parametrize("registry", [None, "mirror.example"])
@pytest.mark.parametrize("tags", [False, True])
def test_the_list_is_what_the_objects_of_a_run_name(access: str, registry: str | None, *, tags: bool) -> None:
    options = ClusterOptions(cluster="external", node_access=access, image_registry=registry, image_tags=tags)
    source = ImageSource(registry, tags)
    cluster = ExternalCluster("c", None, "c", "ns", Placement({}), source)
    applied = [dict(cluster.adapt(pod)) for pod in sample_manifests()]
    if access == "agent":
        applied += [manifest for manifest in agent.manifests("ns", source) if manifest["kind"] == "DaemonSet"]

    assert images_for(options) == images_of(applied)
    assert all(image.startswith("mirror.example/") for image in images_for(options)) == bool(registry)
    assert any("@sha256:" in image for image in images_for(options)) != tags


def test_a_kind_run_needs_its_node_image_too() -> None:
    assert any("kindest/node" in image for image in images_for(ClusterOptions(cluster="kind")))
