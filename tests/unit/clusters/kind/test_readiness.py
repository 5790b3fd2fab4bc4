"""Tests of the readiness of a kind cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.kind import readiness
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.errors import ClusterError, NodeError, NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NODES
from session_affinity.nodes.node import Completed
from session_affinity.progress import ProgressStep

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGURATION = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
clusterCIDR: 10.10.0.0/16
iptables: {minSyncPeriod: 1s}
mode: "%s"
"""
SYNCED = {
    "iptables": ":KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]\n@@affinity end\n",
    "nftables": '{"chain": {"name": "service-2QRHZV4L-default/kubernetes/tcp/https"}}\n@@affinity end\n',
}


@dataclass
class FakeApi:
    """An API server; ``nodes`` maps names to whether the node is Ready, ``account`` is the default service account."""

    nodes: dict[str, bool]
    configuration: str = CONFIGURATION % "iptables"
    account: bool = True

    def objects(self, resource: object) -> list[dict[str, Any]]:
        assert resource == NODES
        return [
            {
                "metadata": {"name": name},
                "status": {"conditions": [{"type": "Ready", "status": str(is_ready), "message": "no CNI"}]},
            }
            for name, is_ready in self.nodes.items()
        ]

    def get(self, _: object, name: str, namespace: str) -> dict[str, Any]:
        if name == "kube-proxy":
            assert namespace == "kube-system"
            return {"data": {"config.conf": self.configuration}}
        if not self.account:
            raise ApiError("GET serviceaccounts/default: 404", status=404)
        return {}


@dataclass
class FakeNode:
    """A node on which every command prints ``output``; without output, no command can be run."""

    name: str
    output: str
    commands: list[Sequence[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        assert timeout > 0
        assert stdin is None
        self.commands.append(argv)
        if not self.output:
            raise NodeError(f"{self.name}: could not be run")
        return Completed(self.name, tuple(argv), 0, self.output, "")


def wait_for_two_nodes(api: FakeApi, output: str) -> ProxyConfig:
    nodes = {name: FakeNode(name, output) for name in ("a", "b")}
    return readiness.wait(api, nodes, seconds=0.02, step=ProgressStep("nodes", None))


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_cluster_is_ready_when_kube_proxy_has_synced_every_node(mode: str) -> None:
    api = FakeApi({"a": True, "b": True}, CONFIGURATION % mode)

    config = wait_for_two_nodes(api, SYNCED[mode])

    assert config == ProxyConfig(mode, "10.10.0.0/16")
    assert config.source == "ConfigMap kube-system/kube-proxy"


def test_an_empty_mode_means_iptables() -> None:
    assert readiness.kube_proxy_config(FakeApi({}, CONFIGURATION % "")).mode == "iptables"


@pytest.mark.parametrize(
    ("nodes", "account", "output", "last_state"),
    [
        ({"a": True}, True, SYNCED["iptables"], "the nodes to be Ready; last state: b: not registered"),
        ({"a": True, "b": False}, True, SYNCED["iptables"], "the nodes to be Ready; last state: b: no CNI"),
        ({"a": True, "b": True}, False, SYNCED["iptables"], "the default service account; last state: .*404"),
        (
            {"a": True, "b": True},
            True,
            "@@affinity end\n",
            "kube-proxy to have synced; last state: a: no rules of Service",
        ),
        ({"a": True, "b": True}, True, "", "kube-proxy to have synced; last state: a: could not be run"),
    ],
)
def test_the_error_names_what_is_not_ready(
    nodes: dict[str, bool], output: str, last_state: str, *, account: bool
) -> None:
    with pytest.raises(NotReadyError, match=f"waiting for {last_state}"):
        wait_for_two_nodes(FakeApi(nodes, account=account), output)


@pytest.mark.parametrize("configuration", ["[]", "just text", ": :"])
def test_an_invalid_config_map_is_an_error(configuration: str) -> None:
    with pytest.raises(ClusterError, match="kube-system/kube-proxy does not have the form that kubeadm writes"):
        readiness.kube_proxy_config(FakeApi({}, configuration))
