"""What every pod of a run has on an external cluster, and what it must not have."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fixtures.pods import sample_manifests
from session_affinity import bundle
from session_affinity.clusters.external import agent
from session_affinity.clusters.external.cluster import ExternalCluster
from session_affinity.clusters.external.placement import Placement
from session_affinity.clusters.external.pod_settings import (
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    PodSettings,
    PullSecret,
    pull_secrets_of,
)
from session_affinity.clusters.external.scheduling import NodeSelection, Toleration
from session_affinity.clusters.options import ClusterOptions
from session_affinity.errors import UsageError

pytestmark = pytest.mark.unit

SETTINGS = PodSettings((Toleration.parse("dedicated"),), NodeSelection({"pool": "blue"}, ("a",)), ("registry",))


def agent_template() -> dict[str, Any]:
    return next(each for each in agent.manifests("ns", settings=SETTINGS) if each["kind"] == "DaemonSet")["spec"][
        "template"
    ]


def test_all_pods_have_pull_secrets_and_opt_out_of_sidecars() -> None:
    cluster = ExternalCluster("c", None, "c", "ns", Placement({}), settings=SETTINGS)

    for pod in (*map(cluster.adapt, sample_manifests()), agent_template()):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["metadata"]["labels"].items() >= NO_SIDECAR_LABELS.items()
        assert pod["metadata"]["annotations"].items() >= NO_SIDECAR_ANNOTATIONS.items()
        assert {"key": "dedicated", "operator": "Exists"} in pod["spec"]["tolerations"]


def test_the_agents_tolerate_every_taint_and_run_on_the_selected_nodes() -> None:
    spec = agent_template()["spec"]

    assert {"operator": "Exists"} in spec["tolerations"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "blue"}
    assert "nodeAffinity" in spec["affinity"]


def test_sample_pods_are_admitted_at_the_level_restricted() -> None:
    for pod in sample_manifests():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_requests_little() -> None:
    manifests = [
        manifest
        for path in bundle.MANIFESTS.glob("*.yaml")
        for manifest in yaml.safe_load_all(path.read_text())
        if manifest.get("kind") in ("Pod", "DaemonSet")
    ]
    specs = [manifest["spec"].get("template", manifest)["spec"] for manifest in manifests]

    assert len(specs) == 6
    for container in (container for spec in specs for container in spec["containers"]):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_a_pull_secret_is_copied_unless_it_is_in_the_namespace_of_the_run() -> None:
    options = ClusterOptions(namespace="team", pull_secrets=("team/here", "here-too", "other/there"))

    assert pull_secrets_of(options) == (PullSecret("here"), PullSecret("here-too"), PullSecret("there", "other"))
    with pytest.raises(UsageError, match="does not say in which namespace"):
        pull_secrets_of(ClusterOptions(pull_secrets=("here",)))
