"""The file with settings of kube-proxy for an embedded cluster: merging, single nodes, and what is refused."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded import proxy_settings
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.provider import _require_same
from session_affinity.clusters.options import ClusterOptions, require_dataplane
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

SUITE: dict[str, Any] = {"mode": "iptables", "clusterCIDR": "10.10.0.0/16", "iptables": {"syncPeriod": "30s"}}
NODES = tuple(node.name for node in node_layouts("blue", workers=2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxy.yaml"


def read(file: Path, text: str) -> dict[str, dict[str, Any]]:
    file.write_text(text)
    settings = proxy_settings.read(file, "blue", NODES, "iptables")
    return {node: reduce(proxy_settings.merged, parts, SUITE) for node, parts in settings.items()}


def test_settings_are_merged_over_those_of_the_suite_section_by_section(file: Path) -> None:
    text = "kind: KubeProxyConfiguration\niptables: {masqueradeAll: true}\nclusterCIDR: null\n"

    merged = read(file, text)

    assert list(merged) == list(NODES)
    assert merged["blue-worker2"] == {
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "iptables": {"syncPeriod": "30s", "masqueradeAll": True},
    }


@pytest.mark.parametrize(
    ("section", "period"),
    [
        ({"syncPeriod": "2s", "minSyncPeriod": "3s"}, "3s"),
        ({"syncPeriod": "2s", "minSyncPeriod": "500ms"}, "2s"),
        ({"minSyncPeriod": "31s"}, "31s"),
        ({"minSyncPeriod": "3s"}, None),
        ({"syncPeriod": "2s"}, "2s"),
        (None, None),
    ],
)
def test_a_sync_period_is_as_long_as_a_file_makes_its_least(section: Any, period: str | None) -> None:
    settings = proxy_settings.with_long_sync_periods({"iptables": section, "clusterCIDR": "10.0.0.0/8"})

    assert (settings["iptables"] or {}).get("syncPeriod") == period
    assert settings["clusterCIDR"] == "10.0.0.0/8"


@pytest.mark.parametrize("name", ["blue-worker", "worker"])
def test_settings_of_a_node_go_before_those_of_all(file: Path, name: str) -> None:
    text = f"iptables: {{masqueradeBit: 9}}\nnodes: {{{name}: {{mode: nftables, iptables: {{masqueradeBit: 8}}}}}}\n"

    merged = read(file, text)

    assert [merged[node]["iptables"]["masqueradeBit"] for node in NODES] == [9, 8, 9]
    assert [merged[node]["mode"] for node in NODES] == ["iptables", "nftables", "iptables"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "not a mapping of settings"),
        ("a: [\n", "while parsing"),
        ("kind: KubeletConfiguration\n", "kind KubeletConfiguration"),
        ("masqueradeAll: true\n", "masqueradeAll is no setting of kube-proxy"),
        ("iptables: {masqueradeall: true}\n", "iptables has no masqueradeall"),
        ("iptables: 5\n", "iptables: not a mapping"),
        ("mode: nftables\n", "mode nftables, and --proxy-mode is iptables"),
        ("nodes: {worker: {mode: ipvs}}\n", "nodes: worker: mode ipvs"),
        ("nodes: {elsewhere: {}}\n", "the cluster has no node elsewhere"),
        ("nodes: {worker: 5}\n", "nodes: worker: not a mapping"),
        ("hostnameOverride: x\n", "hostnameOverride is the embedded cluster's own"),
        ("iptables: {syncPeriod: soon}\n", "'soon' is no duration"),
        ("iptables: {syncPeriod: 5s, minSyncPeriod: 6s}\n", "minSyncPeriod 6 s is longer than syncPeriod 5 s"),
        ("iptables: {masqueradeBit: 32}\n", "masqueradeBit 32 is not in 0 to 31"),
        ("detectLocalMode: Node\n", "detectLocalMode Node is none of ClusterCIDR"),
        ("detectLocalMode: BridgeInterface\n", "needs detectLocal.bridgeInterface"),
        ("detectLocalMode: InterfaceNamePrefix\n", "needs detectLocal.interfaceNamePrefix"),
        ("nodePortAddresses: [10.0.0.1/8]\n", "has host bits set"),
        ("clusterCIDR: everywhere\n", "does not appear to be"),
    ],
)
def test_what_kube_proxy_would_refuse_or_overlook_is_named(file: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read(file, text)

    assert message in str(error.value)
    assert str(error.value).startswith(f"--proxy-config {file}")


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        proxy_settings.read(file, "blue", NODES, "iptables")


def test_the_layout_keeps_the_settings(file: Path, tmp_path: Path) -> None:
    file.write_text("nodes: {worker: {clusterCIDR: null}}\n")
    settings = proxy_settings.read(file, "blue", NODES, "iptables")
    layout = Layout("blue", "1.37.2", "iptables", {}, "", node_layouts("blue", workers=2), proxy_settings=settings)

    layout.write(tmp_path / "layout.json")

    assert Layout.read(tmp_path / "layout.json") == layout


@dataclass(frozen=True)
class Kept:
    """A cluster that runs already."""

    layout: Layout
    name: str = "blue"


@pytest.mark.parametrize(("text", "is_same"), [("nodes: {worker: {clusterCIDR: null}}", True), ("{}", False)])
def test_a_running_cluster_with_other_settings_is_not_used(file: Path, text: str, *, is_same: bool) -> None:
    file.write_text("nodes: {worker: {clusterCIDR: null}}\n")
    settings = proxy_settings.read(file, "blue", NODES, "iptables")
    nodes = node_layouts("blue", workers=2)
    kept: Any = Kept(Layout("blue", "1.37.2", "iptables", {}, "", nodes, proxy_settings=settings))
    file.write_text(text)

    with nullcontext() if is_same else pytest.raises(UsageError, match="have other settings"):
        _require_same(kept, ClusterOptions(proxy_config=file))


def test_settings_say_nothing_to_a_cluster_without_kube_proxy(file: Path) -> None:
    with pytest.raises(UsageError, match="--proxy-config says nothing with --no-kube-proxy"):
        require_dataplane(ClusterOptions(no_kube_proxy=True, proxy_config=file))
