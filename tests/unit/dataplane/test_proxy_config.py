"""The settings of one kube-proxy, read from its configuration, and those of all nodes together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane.local_traffic import LocalTraffic
from session_affinity.dataplane.model import NEWEST_RELEASE
from session_affinity.dataplane.proxy_config import (
    NO_KUBE_PROXY,
    UNKNOWN,
    ProxyConfig,
    ProxyConfigs,
    duration_seconds,
)
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Family

GATE = {"KubeProxyNFTablesLocalhostNodePorts": True}
CONFIG = ProxyConfig("nftables", "10.10.0.0/16", source="configz")
CONFIGURATION: dict[str, Any] = {
    "bindAddress": "172.30.0.3",
    "mode": "nftables",
    "clusterCIDR": "10.10.0.0/16, fd00:10::/56",
    "detectLocalMode": "InterfaceNamePrefix",
    "detectLocal": {"interfaceNamePrefix": "azv"},
    "nodePortAddresses": ["primary"],
    "featureGates": {"AllowServiceExternalIPs": False},
    "iptables": {"masqueradeBit": 9, "localhostNodePorts": False, "syncPeriod": "1h"},
    "nftables": {"masqueradeBit": 15, "masqueradeAll": True, "syncPeriod": "1m0s", "minSyncPeriod": "10s"},
}


def test_every_setting_is_read_from_the_section_of_the_mode() -> None:
    assert ProxyConfig.from_configuration(CONFIGURATION) == ProxyConfig(
        "nftables",
        "10.10.0.0/16,fd00:10::/56",
        masquerade_bit=15,
        masquerade_all=True,
        detect_local_mode="InterfaceNamePrefix",
        interface_name_prefix="azv",
        sync_period=60.0,
        min_sync_period=10.0,
        node_port_addresses=("primary",),
        localhost_node_ports=False,
        feature_gates={"AllowServiceExternalIPs": False},
        bind_address="172.30.0.3",
    )


@pytest.mark.parametrize("configuration", [{}, {"mode": "", "clusterCIDR": "", "iptables": None}])
def test_settings_left_out_have_the_defaults_of_kube_proxy(configuration: dict[str, Any]) -> None:
    config = ProxyConfig.from_configuration(configuration)

    assert config == ProxyConfig("iptables", None)
    assert (config.masquerade_bit, config.sync_period, config.min_sync_period) == (14, 30.0, 1.0)


def test_bit_0_is_a_bit_and_a_minimum_of_0_is_the_default() -> None:
    config = ProxyConfig.from_configuration({"iptables": {"masqueradeBit": 0, "minSyncPeriod": "0s"}})

    assert (config.masquerade_bit, config.min_sync_period) == (0, 1.0)


def test_ipvs_masquerades_as_the_section_of_iptables_says() -> None:
    config = ProxyConfig.from_configuration({**CONFIGURATION, "mode": "ipvs", "ipvs": {"syncPeriod": "15s"}})

    assert (config.masquerade_bit, config.sync_period, config.min_sync_period) == (9, 15.0, 0.0)


@pytest.mark.parametrize(
    "configuration", [None, "<html>", {"iptables": "x"}, {"iptables": {"masqueradeBit": "x"}}, {"nodePortAddresses": 1}]
)
def test_an_object_that_is_no_configuration_is_an_error(configuration: Any) -> None:
    with pytest.raises(ValueError, match=r"no KubeProxyConfiguration|invalid literal"):
        ProxyConfig.from_configuration(configuration)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m0s", 60), ("1h2m3.5s", 3723.5), ("250ms", 0.25), ("5µs", 5e-6), ("0", 0), ("0s", 0), (None, 0)],
)
def test_durations_are_read_as_go_writes_them(text: str | None, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "30s later", "s", "1.2.3s"])
def test_a_text_that_is_no_duration_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration_seconds(text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, "", id="judged"),
        pytest.param({"masquerade_bit": 15, "min_sync_period": 10.0}, "", id="judged-with-other-settings"),
        pytest.param({"masquerade_all": True}, "", id="masquerade-all"),
        pytest.param({"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "azv"}, "", id="interface"),
        pytest.param({"detect_local_mode": "NodeCIDR", "pod_cidrs": ()}, "", id="pod-cidrs"),
        pytest.param({"detect_local_mode": "NodeCIDR"}, "pod CIDRs of its Node cannot be read", id="no-pod-cidrs"),
        pytest.param({"detect_local_mode": "Magic"}, "detectLocalMode is Magic, which is not known", id="other-mode"),
        pytest.param({"detect_local_mode": UNKNOWN}, "detectLocalMode is not known (configz)", id="unknown-local-mode"),
        pytest.param({"mode": UNKNOWN}, "the mode of kube-proxy is not known (configz)", id="unknown-mode"),
        pytest.param({"mode": NO_KUBE_PROXY}, "the cluster has no kube-proxy (configz)", id="no-kube-proxy"),
    ],
)
def test_a_node_whose_expected_rules_are_not_known_is_not_judged(changes: dict[str, Any], reason: str) -> None:
    config = replace(CONFIG, **changes)

    assert reason in config.not_judged
    assert bool(config.not_judged) == bool(reason)
    assert ProxyConfigs.same(config, ["a", "b"]).not_judged == config.not_judged


def configs(**by_node: ProxyConfig) -> ProxyConfigs:
    return ProxyConfigs(by_node)


def test_nodes_that_differ_have_their_own_settings() -> None:
    rollout = configs(a=CONFIG, b=CONFIG, c=replace(CONFIG, masquerade_bit=15, min_sync_period=10.0))

    assert [rollout.of(node).masquerade_bit for node in "abc"] == [14, 14, 15]
    assert (rollout.mode, rollout.not_judged, rollout.min_sync_period) == ("nftables", "", 10.0)
    assert str(rollout) == (
        "kube-proxy: nftables mode, cluster CIDR 10.10.0.0/16, masquerade bit 14 on a, b; 15 on c, "
        "minSyncPeriod 1 s on a, b; 10 s on c, read from configz"
    )


def test_nodes_are_judged_in_the_mode_of_most_and_the_others_are_left_out_by_name() -> None:
    mixed = configs(a=replace(CONFIG, mode="iptables"), b=CONFIG, c=CONFIG)

    reason = "its kube-proxy runs in iptables mode, and claims about nodes are judged in nftables mode"
    assert (mixed.mode, mixed.not_judged) == ("nftables", "")
    assert mixed.not_judged_nodes == {"a": reason}
    assert mixed.left_out == mixed.facts()["rules not judged"] == f"a: {reason}"


def test_of_as_many_nodes_in_two_modes_the_first_is_judged() -> None:
    assert configs(a=replace(CONFIG, mode="iptables"), b=CONFIG).mode == "iptables"


def test_a_mode_that_can_be_judged_goes_before_the_mode_of_most() -> None:
    ipvs = replace(CONFIG, mode="ipvs")

    mixed = configs(a=ipvs, b=ipvs, c=CONFIG)

    assert (mixed.mode, list(mixed.not_judged_nodes)) == ("nftables", ["a", "b"])
    assert configs(a=ipvs, b=ipvs).mode == "ipvs"


def test_a_node_that_cannot_be_judged_costs_its_own_verdicts_only() -> None:
    rollout = configs(a=CONFIG, b=replace(CONFIG, detect_local_mode="NodeCIDR"), c=replace(CONFIG, mode=UNKNOWN))

    assert (rollout.mode, rollout.not_judged) == ("nftables", "")
    assert list(rollout.not_judged_nodes) == ["b", "c"]
    assert rollout.left_out == (
        "b: kube-proxy runs with detectLocalMode NodeCIDR, and the pod CIDRs of its Node cannot be read; "
        "c: the mode of kube-proxy is not known (configz)"
    )


def test_where_no_node_can_be_judged_all_reasons_are_given() -> None:
    neither = configs(a=replace(CONFIG, detect_local_mode="NodeCIDR"), b=replace(CONFIG, mode=UNKNOWN))

    assert neither.not_judged.startswith("a: kube-proxy runs with detectLocalMode NodeCIDR")
    assert neither.not_judged.endswith("; b: the mode of kube-proxy is not known (configz)")
    assert neither.left_out == ""


def test_rules_that_cannot_be_read_come_before_every_other_reason() -> None:
    assert ProxyConfigs({}, default=CONFIG, unreadable="no access").not_judged == "no access"
    assert ProxyConfigs({}, default=CONFIG, unreadable="no access").mode == "nftables"


def test_settings_of_a_node_that_are_not_known_are_an_error() -> None:
    with pytest.raises(ClusterError, match="c: the settings of its kube-proxy are not known"):
        configs(a=CONFIG).of("c")
    assert ProxyConfigs(default=CONFIG).of("c") == CONFIG


def test_settings_that_differ_in_their_source_alone_are_equal() -> None:
    assert replace(CONFIG, source="ConfigMap") == CONFIG
    assert len(configs(a=CONFIG, b=replace(CONFIG, source="ConfigMap")).distinct) == 1


def node(name: str, *addresses: tuple[str, str], pods: tuple[str, ...] = (), zone: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}},
        "spec": {"podCIDRs": list(pods)},
        "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses]},
    }


def test_what_the_nodes_say_is_added_to_the_settings_of_each() -> None:
    a = node("a", ("ExternalIP", "192.0.2.1"), ("Hostname", "a"), ("InternalIP", "10.0.0.1"), pods=("10.10.1.0/24",))
    known = configs(a=CONFIG, b=CONFIG, c=CONFIG).with_nodes([a, node("b", zone="east")])

    assert known.of("a").node_addresses == {"a": ("10.0.0.1", "192.0.2.1"), "b": ()}
    assert known.of("b").zones == {"a": "", "b": "east"}
    assert [known.of(name).pod_cidrs for name in "abc"] == [("10.10.1.0/24",), (), None]


def test_addresses_of_a_node_are_written_as_kube_proxy_does_and_others_overlooked() -> None:
    """The node of a virtual kubelet may have an empty address, and a cloud provider writes addresses its own way."""
    internal = ("", "pending", "2001:DB8:0:0::1", "172.030.0.4")
    known = configs(a=CONFIG).with_nodes([node("a", *(("InternalIP", address) for address in internal))])

    assert known.of("a").node_address("a", "IPv4") == "172.30.0.4"
    assert known.of("a").node_address("a", "IPv6") == "2001:db8::1"


def test_nodes_with_settings_that_rules_depend_on_are_alike() -> None:
    nodes = [node(name, pods=(f"10.10.{number}.0/24",)) for number, name in enumerate("abcd")]
    by_node_cidr = replace(CONFIG, detect_local_mode="NodeCIDR")
    known = configs(a=CONFIG, b=replace(CONFIG, min_sync_period=9.0), c=by_node_cidr, d=by_node_cidr).with_nodes(nodes)

    assert known.alike("abcd", "IPv4") == (("a", "b"), ("c",), ("d",))


def test_the_release_is_that_of_the_kubelet_where_kube_proxy_did_not_say_it() -> None:
    nodes = [node(name) for name in "abc"]
    for each, version in zip(nodes, ("v1.36.1+k3s1", "v1.34.4-eks-1a2b", ""), strict=True):
        each["status"]["nodeInfo"] = {"kubeletVersion": version}
    known = configs(a=CONFIG, b=replace(CONFIG, release=(1, 35)), c=CONFIG).with_nodes(nodes)

    assert [known.of(name).release for name in "abc"] == [(1, 36), (1, 35), None]
    assert known.alike("abc", "IPv4") == (("a",), ("b",), ("c",))
    assert ProxyConfigs(default=CONFIG).with_nodes(nodes).of("a").expected_release == (1, 34)
    assert known.of("c").expected_release == NEWEST_RELEASE
    assert (known.oldest_release, ProxyConfigs().oldest_release) == ((1, 35), NEWEST_RELEASE)
    assert known.facts()["releases of kube-proxy"] == "1.36 on a; 1.35 on b; not known on c"
    assert "releases of kube-proxy 1.36 on a; 1.35 on b; not known on c" in str(known)


def test_what_is_known_of_kube_proxy_goes_by_the_releases_of_kube_proxies() -> None:
    """Also where DaemonSet and kubelets differ; kubelets count on nodes whose kube-proxies did not say theirs."""
    nodes = [node(name) for name in "abc"]
    for each, version in zip(nodes, ("v1.37.2", "v1.37.2", "v1.36.1"), strict=True):
        each["status"]["nodeInfo"] = {"kubeletVersion": version}
    new, old = replace(CONFIG, release=(1, 37)), replace(CONFIG, release=(1, 33))

    assert configs(a=new, b=old, c=new).releases(nodes) == {(1, 33), (1, 37)}
    assert configs(a=new, b=new, c=new).releases(nodes) == {(1, 37)}
    assert configs(a=old, b=CONFIG).releases(nodes) == {(1, 33), (1, 37), (1, 36)}
    assert ProxyConfigs(default=CONFIG).with_nodes(nodes).releases(nodes) == {(1, 37), (1, 36)}
    assert configs(a=old, b=CONFIG).releases([]) == {(1, 33)}
    assert configs(a=CONFIG).releases([]) == set()


@pytest.mark.parametrize(
    ("release", "gates", "follows"),
    [
        ((1, 33), {}, False),
        ((1, 33), {"PreferSameTrafficDistribution": True}, True),
        ((1, 33), {"AllAlpha": True}, True),
        ((1, 33), {"AllBeta": True}, False),
        ((1, 34), {}, True),
        ((1, 34), {"AllBeta": False}, False),
        ((1, 34), {"AllBeta": False, "PreferSameTrafficDistribution": True}, True),
        ((1, 34), {"PreferSameTrafficDistribution": False}, False),
        ((1, 35), {"AllBeta": False}, True),
        (None, {}, True),
    ],
)
def test_hints_for_nodes_count_where_the_feature_gate_is_on(
    release: tuple[int, int] | None, gates: dict[str, bool], *, follows: bool
) -> None:
    assert replace(CONFIG, release=release, feature_gates=gates).follows_node_hints is follows


@pytest.mark.parametrize(
    ("release", "gates", "refuses"),
    [
        ((1, 36), {"AllAlpha": True}, False),
        ((1, 37), {"AllAlpha": True}, True),
        ((1, 37), {"AllAlpha": True, "KubeProxyNFTablesLocalhostNodePorts": False}, False),
        ((1, 37), {"KubeProxyNFTablesLocalhostNodePorts": True}, True),
        ((1, 37), {}, False),
    ],
)
def test_all_alpha_features_are_those_of_the_release(
    release: tuple[int, int], gates: dict[str, bool], *, refuses: bool
) -> None:
    config = replace(CONFIG, mode="nftables", release=release, feature_gates=gates)

    assert config.refuses_localhost_node_ports is refuses


def test_zones_are_added_to_the_settings_of_all_nodes() -> None:
    zoned = ProxyConfigs({"a": CONFIG}, default=CONFIG).with_zones({"a": "east"})

    assert zoned.of("a").zones == zoned.of("b").zones == {"a": "east"}


def test_facts_leave_out_what_all_nodes_leave_alone() -> None:
    assert configs(a=CONFIG).facts() == {
        "proxy mode": "nftables",
        "proxy read from": "configz",
        "cluster CIDR": "10.10.0.0/16",
        "masquerade bit": "14",
    }
    assert configs(a=replace(CONFIG, cluster_cidr=None, masquerade_all=True)).facts() | {"x": ""} == {
        "proxy mode": "nftables",
        "proxy read from": "configz",
        "cluster CIDR": "none",
        "masquerade bit": "14",
        "masqueradeAll": "yes",
        "x": "",
    }


@pytest.mark.parametrize(
    ("changes", "family", "expected"),
    [
        ({}, "IPv4", LocalTraffic("10.10.0.0/16")),
        ({}, "IPv6", None),
        ({"cluster_cidr": "10.10.0.0/16,fd00:10::/56"}, "IPv6", LocalTraffic("fd00:10::/56")),
        ({"cluster_cidr": "fd00:10::/56,10.10.0.0/16"}, "IPv4", LocalTraffic("10.10.0.0/16")),
        ({"cluster_cidr": None}, "IPv4", None),
        (
            {"detect_local_mode": "NodeCIDR", "pod_cidrs": ("10.10.2.0/24", "fd00::/64")},
            "IPv6",
            LocalTraffic("fd00::/64"),
        ),
        ({"detect_local_mode": "NodeCIDR", "pod_cidrs": ()}, "IPv4", None),
        ({"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"}, "IPv6", LocalTraffic(interface="cni0")),
        (
            {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "azv"},
            "IPv4",
            LocalTraffic(interface="azv", is_prefix=True),
        ),
    ],
)
def test_what_the_traffic_of_pods_has_in_common(
    changes: dict[str, Any], family: Family, expected: LocalTraffic | None
) -> None:
    assert replace(CONFIG, **changes).local_traffic(family) == expected


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ({"mode": "iptables"}, True),
        ({"mode": "iptables", "localhost_node_ports": False}, False),
        ({"mode": "iptables", "node_port_addresses": ("primary",)}, False),
        ({"mode": "iptables", "node_port_addresses": ("10.0.0.0/8", "127.0.0.0/8")}, True),
        ({"mode": "iptables", "node_port_addresses": ("::/0",)}, True),
        ({}, False),
        ({"node_port_addresses": ("localhost",)}, False),
        ({"node_port_addresses": ("localhost",), "feature_gates": GATE}, True),
        ({"node_port_addresses": ("127.0.0.1/32",), "feature_gates": {"AllAlpha": True}}, True),
        ({"node_port_addresses": ("0.0.0.0/0",), "feature_gates": GATE}, False),
    ],
)
def test_whether_node_ports_are_answered_at_localhost(changes: dict[str, Any], *, answers: bool) -> None:
    assert replace(CONFIG, **changes).serves_localhost_node_ports is answers


def test_the_address_that_kube_proxy_binds_to_is_that_of_its_node() -> None:
    known = replace(CONFIG, node_addresses={"a": ("10.0.0.1",)}, bind_address="10.0.0.9")

    assert known.node_address("a", "IPv4") == known.node_address("b", "IPv4") == "10.0.0.9"
    assert (known.node_address("a", "IPv6"), known.node_address("b", "IPv6")) == ("::1", None)
