"""The settings of one kube-proxy, read from its configuration, and those of all nodes together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

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

CONFIG = ProxyConfig("nftables", "10.10.0.0/16", source="configz")
CONFIGURATION: dict[str, Any] = {
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
        pytest.param({"masquerade_all": True}, "runs with masqueradeAll", id="masquerade-all"),
        pytest.param({"detect_local_mode": "NodeCIDR"}, "runs with detectLocalMode NodeCIDR", id="local-mode"),
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


def test_nodes_in_different_modes_are_named_and_not_judged() -> None:
    mixed = configs(a=CONFIG, b=replace(CONFIG, mode="iptables"), c=CONFIG)

    assert mixed.mode == UNKNOWN
    assert mixed.not_judged == (
        "kube-proxy runs in different modes: nftables on a, c; iptables on b: nodes are judged in one mode only"
    )
    assert str(mixed) == "kube-proxy: unknown (nftables mode on a, c; iptables mode on b)"


def test_a_node_that_cannot_be_judged_is_named_with_its_reason() -> None:
    rollout = configs(a=CONFIG, b=replace(CONFIG, masquerade_all=True))

    assert rollout.not_judged == ("b: kube-proxy runs with masqueradeAll: the suite does not know its rules for that")


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


def test_zones_are_added_to_the_settings_of_all_nodes() -> None:
    zoned = ProxyConfigs({"a": CONFIG}, default=CONFIG).with_zones({"a": "east"})

    assert zoned.of("a").zones == zoned.of("b").zones == {"a": "east"}


def test_every_node_knows_the_addresses_of_all() -> None:
    known = ProxyConfigs({"a": CONFIG}, default=CONFIG).with_node_addresses({"a": ("172.30.0.4",)})

    assert known.of("b").node_address("a", "IPv4") == "172.30.0.4"


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
        "rules not judged": "kube-proxy runs with masqueradeAll: the suite does not know its rules for that",
        "x": "",
    }


@pytest.mark.parametrize(
    ("ranges", "family", "pod_range"),
    [
        ("10.10.0.0/16", "IPv4", "10.10.0.0/16"),
        ("10.10.0.0/16", "IPv6", None),
        ("10.10.0.0/16,fd00:10::/56", "IPv4", "10.10.0.0/16"),
        ("10.10.0.0/16,fd00:10::/56", "IPv6", "fd00:10::/56"),
        ("fd00:10::/56,10.10.0.0/16", "IPv4", "10.10.0.0/16"),
        (None, "IPv4", None),
    ],
)
def test_each_family_has_its_own_range_of_the_cluster_cidr(
    ranges: str | None, family: Family, pod_range: str | None
) -> None:
    assert ProxyConfig("iptables", ranges).pod_range(family) == pod_range
