"""Pages of kube-proxy with the field names of any version."""

from __future__ import annotations

import json

import pytest

from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.nodes import configz

INTERNAL = {
    "Linux": {"MasqueradeAll": True},
    "Mode": "nftables",
    "IPTables": {"MasqueradeBit": 14, "LocalhostNodePorts": True},
    "NFTables": {"MasqueradeBit": 15},
    "DetectLocalMode": "ClusterCIDR",
    "DetectLocal": {
        "ClusterCIDRs": ["10.10.0.0/16", "fd00:1::/56"],
        "BridgeInterface": "",
        "InterfaceNamePrefix": "azv",
    },
    "NodePortAddresses": ["primary"],
    "FeatureGates": {"AllowServiceExternalIPs": False},
    "SyncPeriod": "30s",
    "MinSyncPeriod": "10s",
}
API = {
    "mode": "nftables",
    "clusterCIDR": "10.10.0.0/16,fd00:1::/56",
    "detectLocalMode": "ClusterCIDR",
    "detectLocal": {"interfaceNamePrefix": "azv"},
    "nodePortAddresses": ["primary"],
    "featureGates": {"AllowServiceExternalIPs": False},
    "iptables": {"masqueradeBit": 14, "localhostNodePorts": True},
    "nftables": {"masqueradeBit": 15, "masqueradeAll": True, "syncPeriod": "30s", "minSyncPeriod": "10s"},
}
"""The same settings in the names of the API."""


def page(configuration: object) -> str:
    return json.dumps({"kubeproxy.config.k8s.io": configuration})


def test_the_names_of_the_api_are_left_as_they_are() -> None:
    assert configz.parse(page(API)) == API


def test_both_spellings_are_the_same_settings() -> None:
    internal, api = (ProxyConfig.from_configuration(configz.parse(page(names))) for names in (INTERNAL, API))

    assert internal == api
    assert (api.masquerade_bit, api.masquerade_all, api.min_sync_period) == (15, True, 10.0)
    assert (api.interface_name_prefix, api.node_port_addresses) == ("azv", ("primary",))


def test_the_names_of_the_internal_type_become_those_of_the_api() -> None:
    settings = configz.parse(page(INTERNAL))

    assert settings["mode"] == "nftables"
    assert settings["clusterCIDR"] == "10.10.0.0/16,fd00:1::/56"
    assert settings["detectLocalMode"] == "ClusterCIDR"
    assert settings["nftables"] == API["nftables"]
    assert settings["iptables"]["masqueradeBit"] == 14


def test_an_older_internal_type_has_more_of_it_in_the_modes() -> None:
    older = {"Mode": "", "ClusterCIDR": "10.10.0.0/16", "IPTables": {"MasqueradeAll": False, "SyncPeriod": "1m0s"}}

    settings = configz.parse(page(older))

    assert settings["clusterCIDR"] == "10.10.0.0/16"
    assert settings["iptables"] == {"masqueradeAll": False, "syncPeriod": "1m0s"}


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", page(None)])
def test_a_page_without_a_configuration_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|kubeproxy"):
        configz.parse(text)
