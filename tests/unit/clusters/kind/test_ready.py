"""When a kind cluster can be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.kind import ready
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
    """An API with nodes by name and whether they are Ready."""

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
    """A node that says the same to every command."""

    name: str
    says: str
    asked: list[Sequence[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        assert timeout > 0
        assert stdin is None
        self.asked.append(argv)
        if not self.says:
            raise NodeError(f"{self.name}: could not be run")
        return Completed(self.name, tuple(argv), 0, self.says, "")


def waited(api: FakeApi, says: str) -> ProxyConfig:
    nodes = {name: FakeNode(name, says) for name in ("a", "b")}
    return ready.wait(api, nodes, seconds=0.02, step=ProgressStep("nodes", None))


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_cluster_is_ready_when_every_node_is_programmed(mode: str) -> None:
    api = FakeApi({"a": True, "b": True}, CONFIGURATION % mode)

    config = waited(api, SYNCED[mode])

    assert config == ProxyConfig(mode, "10.10.0.0/16")
    assert config.source == "ConfigMap kube-system/kube-proxy"


def test_an_empty_mode_is_iptables() -> None:
    assert ready.kube_proxy_config(FakeApi({}, CONFIGURATION % "")).mode == "iptables"


@pytest.mark.parametrize(
    ("nodes", "account", "says", "last"),
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
def test_what_is_lacking_is_said(nodes: dict[str, bool], says: str, last: str, *, account: bool) -> None:
    with pytest.raises(NotReadyError, match=f"waiting for {last}"):
        waited(FakeApi(nodes, account=account), says)


@pytest.mark.parametrize("configuration", ["[]", "just text", ": :"])
def test_a_config_map_that_is_none_is_an_error(configuration: str) -> None:
    with pytest.raises(ClusterError, match="kube-system/kube-proxy is not as kubeadm writes it"):
        ready.kube_proxy_config(FakeApi({}, configuration))
