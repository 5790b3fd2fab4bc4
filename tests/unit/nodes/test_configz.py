"""What kube-proxy tells of its configuration, by the names of any version."""

from __future__ import annotations

import json

import pytest

from session_affinity.nodes import configz

INTERNAL = {
    "Linux": {"MasqueradeAll": True},
    "Mode": "nftables",
    "IPTables": {"MasqueradeBit": 14, "LocalhostNodePorts": True},
    "NFTables": {"MasqueradeBit": 15},
    "DetectLocalMode": "ClusterCIDR",
    "DetectLocal": {"ClusterCIDRs": ["10.10.0.0/16", "fd00:1::/56"]},
    "SyncPeriod": "30s",
}


def told(settings: object) -> str:
    return json.dumps({"kubeproxy.config.k8s.io": settings})


def test_the_names_of_the_api_are_left_as_they_are() -> None:
    settings = {"mode": "iptables", "iptables": {"syncPeriod": "30s"}}

    assert configz.parse(told(settings)) == settings


def test_the_names_of_the_internal_type_become_those_of_the_api() -> None:
    settings = configz.parse(told(INTERNAL))

    assert settings["mode"] == "nftables"
    assert settings["clusterCIDR"] == "10.10.0.0/16,fd00:1::/56"
    assert settings["detectLocalMode"] == "ClusterCIDR"
    assert settings["nftables"] == {"masqueradeBit": 15, "masqueradeAll": True, "syncPeriod": "30s"}
    assert settings["iptables"]["masqueradeBit"] == 14


def test_an_older_internal_type_has_more_of_it_in_the_modes() -> None:
    older = {"Mode": "", "ClusterCIDR": "10.10.0.0/16", "IPTables": {"MasqueradeAll": False, "SyncPeriod": "1m0s"}}

    settings = configz.parse(told(older))

    assert settings["clusterCIDR"] == "10.10.0.0/16"
    assert settings["iptables"] == {"masqueradeAll": False, "syncPeriod": "1m0s"}


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", told(None)])
def test_what_is_no_configuration_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|kubeproxy"):
        configz.parse(text)
