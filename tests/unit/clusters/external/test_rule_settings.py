"""The settings that the rules on a node show: enough that the node is right by them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.external.discovery import from_rules
from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, Family, ServicePort, ServiceState
from session_affinity.dataplane.nftables.layout import TableLayout
from session_affinity.dataplane.proxy_config import NFTABLES, UNKNOWN, ProxyConfig
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot

pytestmark = pytest.mark.unit

HERE = "a"
IN_FAMILY: dict[Family, tuple[str, str, str, str]] = {
    "IPv4": ("10.10.0.0/16", "10.10.1.2", "10.200.1.7", "172.30.0.3"),
    "IPv6": ("fd00:10::/56", "fd00:10::2", "fd00:200::7", "fd00:30::3"),
}
CHANGES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "masqueradeAll": {"masquerade_all": True},
    "masqueradeBit": {"masquerade_bit": 15},
    "highest masqueradeBit": {"masquerade_bit": 31},
    "localhostNodePorts": {"localhost_node_ports": False},
    "nodePortAddresses of a node": {"node_port_addresses": ("172.30.0.0/16", "fd00:30::/64")},
    "nodePortAddresses with loopback": {"node_port_addresses": ("172.30.0.0/16", "127.0.0.0/8", "fd00:30::/64")},
    "all nodePortAddresses": {"node_port_addresses": ("0.0.0.0/0", "::/0")},
    "InterfaceNamePrefix": {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "azv"},
    "InterfaceNamePrefix and masqueradeAll": {
        "detect_local_mode": "InterfaceNamePrefix",
        "interface_name_prefix": "azv",
        "masquerade_all": True,
    },
}


def services(family: Family, external_policy: str = "Local") -> list[ServiceState]:
    _, address, cluster_ip, _ = IN_FAMILY[family]
    endpoints = (Endpoint(address, 80, "webpod1", HERE),)
    port = ServicePort("web", "TCP", 9000, endpoints, node_port=30900)
    return [
        ServiceState("default", "x", (cluster_ip,), CLIENT_IP, 30, (port,), family, external_policy=external_policy)
    ]


def proxy_of(mode: str, **changes: Any) -> ProxyConfig:
    ranges = ",".join(range_ for range_, *_ in IN_FAMILY.values())
    addresses = tuple(address for *_, address in IN_FAMILY.values())
    return replace(ProxyConfig(mode, ranges, node_addresses={HERE: addresses}), **changes)


def node(proxy: ProxyConfig, family: Family, layout: TableLayout, **changes: Any) -> NodeSnapshot:
    states = services(family, **changes)
    if proxy.mode == NFTABLES:
        return rendered_nodes.nftables_node(states, proxy, HERE, family=family, layout=layout)
    return rendered_nodes.iptables_node(states, proxy, HERE)


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("layout", TableLayout, ids=["chain-per-endpoint", "chain-per-sticky-endpoint"])
@pytest.mark.parametrize("mode", BACKENDS)
def test_a_node_is_right_by_the_settings_that_its_rules_show(
    mode: str, layout: TableLayout, changes: dict[str, Any]
) -> None:
    proxy = proxy_of(mode, **changes)
    nodes: dict[Family, NodeSnapshot] = {family: node(proxy, family, layout) for family in IN_FAMILY}

    seen = replace(from_rules(nodes.values())[HERE], node_addresses=proxy.node_addresses)

    assert not seen.not_judged
    assert (seen.masquerade_bit, seen.masquerade_all) == (proxy.masquerade_bit, proxy.masquerade_all)
    for family, snapshot in nodes.items():
        (differences,) = BACKENDS[mode].compare_many(snapshot, services(family), seen).values()
        assert differences == ()


@pytest.mark.parametrize("mode", BACKENDS)
def test_pods_are_not_known_where_all_traffic_is_masqueraded_and_no_policy_is_local(mode: str) -> None:
    proxy = proxy_of(mode, masquerade_all=True)
    sticky = TableLayout.CHAIN_PER_STICKY_ENDPOINT

    seen = from_rules([node(proxy, family, sticky, external_policy="Cluster") for family in IN_FAMILY])[HERE]

    assert seen.detect_local_mode == UNKNOWN
    assert "masquerade all traffic" in seen.not_judged
