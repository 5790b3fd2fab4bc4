"""The API paths of resources."""

from __future__ import annotations

import pytest

from session_affinity.errors import UsageError
from session_affinity.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, Resource, resource_of


@pytest.mark.parametrize(
    ("resource", "names", "path"),
    [
        pytest.param(SERVICES, ("default", "svc"), "/api/v1/namespaces/default/services/svc", id="core"),
        pytest.param(SERVICES, (), "/api/v1/services", id="all-namespaces"),
        pytest.param(NODES, ("", "myk8s-worker"), "/api/v1/nodes/myk8s-worker", id="no-namespace"),
        pytest.param(PODS, ("default", "net-pod", "exec"), "/api/v1/namespaces/default/pods/net-pod/exec", id="exec"),
        pytest.param(
            ENDPOINT_SLICES, ("default",), "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", id="group"
        ),
    ],
)
def test_paths(resource: Resource, names: tuple[str, ...], path: str) -> None:
    assert resource.path(*names) == path


def test_manifests_name_their_resource() -> None:
    assert resource_of({"apiVersion": "v1", "kind": "Service"}) is SERVICES


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(UsageError, match="does not handle Deployment of apps/v1"):
        resource_of({"apiVersion": "apps/v1", "kind": "Deployment"})
