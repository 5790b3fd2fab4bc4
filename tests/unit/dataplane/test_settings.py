"""The rules that settings of kube-proxy change, in both modes: what is right, and what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.iptables import node_ports as iptables_node_ports
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.local_traffic import NodePortAddresses
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables import node_ports as nftables_node_ports
from session_affinity.dataplane.nftables import table
from session_affinity.dataplane.nftables.layout import TableLayout
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Family

pytestmark = pytest.mark.unit

NODE = "worker"
GATE = {"KubeProxyNFTablesLocalhostNodePorts": True}
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}", f"worker{number}") for number in (1, 2))
SERVICE = ServiceState(
    "default",
    "sticky",
    ("10.200.1.27",),
    CLIENT_IP,
    30,
    (ServicePort("web", "TCP", 9000, ENDPOINTS, 30127),),
    external_policy="Local",
    external_ips=("198.51.100.7",),
)
PROXY = ProxyConfig("iptables", "10.10.0.0/16", node_addresses={NODE: ("172.30.0.3", "fd00::3")})
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "masqueradeAll": {"masquerade_all": True},
    "masqueradeBit": {"masquerade_bit": 9},
    "no cluster CIDR": {"cluster_cidr": None},
    "NodeCIDR": {"detect_local_mode": "NodeCIDR", "pod_cidrs": ("10.10.1.0/24",)},
    "BridgeInterface": {"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"},
    "InterfaceNamePrefix": {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "azv"},
    "no external IPs": {"feature_gates": {"AllowServiceExternalIPs": False}},
    "primary": {"node_port_addresses": ("primary",)},
    "range": {"node_port_addresses": ("172.30.0.0/16",)},
    "no localhost": {"localhost_node_ports": False},
    "localhost": {"node_port_addresses": ("primary", "localhost"), "feature_gates": GATE},
}


def differences(seen: ProxyConfig, expected: ProxyConfig, layout: TableLayout) -> list[Any]:
    """Return the differences of a node that was programmed with one kube-proxy's settings, judged by another's."""
    if seen.mode == "iptables":
        return list(IPTABLES.compare(rendered_nodes.iptables_node([SERVICE], seen, NODE), SERVICE, expected))
    printed = rendered_nodes.nftables_json([SERVICE], seen, NODE, layout=layout)
    return list(NFTABLES.compare(NodeSnapshot(NODE, nftables=table.parse(printed)), SERVICE, expected))


@pytest.mark.parametrize(
    ("mode", "layout"),
    [("iptables", TableLayout.CHAIN_PER_ENDPOINT), *(("nftables", layout) for layout in TableLayout)],
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_node_is_judged_by_its_own_settings(mode: str, layout: TableLayout, setting: str) -> None:
    own = replace(PROXY, mode=mode, **SETTINGS[setting])
    others = {name: replace(PROXY, mode=mode, **changes) for name, changes in SETTINGS.items()}

    assert differences(own, own, layout) == []
    undetected = [name for name, other in others.items() if other != own and not differences(own, other, layout)]
    assert {*undetected} <= ALIKE[mode].get(setting, set())


ALIKE = {
    "iptables": {"primary": {"range"}, "range": {"primary"}},
    "nftables": {
        # localhostNodePorts is a setting of iptables mode, and the primary address is the default.
        **{name: {"default", "primary", "no localhost", "range"} for name in ("default", "primary", "no localhost")},
        "range": {"default", "primary", "no localhost"},
    },
}
"""The settings by which a node that has others, the key, has no differences: they come to the same there."""


def test_the_highest_bit_of_a_mark_is_printed_as_a_prefix() -> None:
    expected = replace(PROXY, mode="nftables", masquerade_bit=31)
    printed = json.dumps(rendered_nodes.nftables_json([SERVICE], expected, NODE))
    mask = '"left": {"&": [{"meta": {"key": "mark"}}, 2147483648]}, "right": 0'
    assert mask in printed

    as_prefix = printed.replace(mask, '"left": {"meta": {"key": "mark"}}, "right": {"prefix": {"addr": 0, "len": 1}}')

    state = NodeSnapshot(NODE, nftables=table.parse(json.loads(as_prefix)))
    assert NFTABLES.compare(state, SERVICE, expected) == ()
    assert NFTABLES.compare(state, SERVICE, replace(expected, masquerade_bit=30)) != ()


@pytest.mark.parametrize(
    ("texts", "family", "expected"),
    [
        ((), "IPv4", NodePortAddresses((), answers_on_loopback=True)),
        (("primary",), "IPv4", NodePortAddresses(("172.30.0.3/32",), answers_on_loopback=False)),
        (("primary",), "IPv6", NodePortAddresses(("172.30.0.3/128",), answers_on_loopback=False)),
        (("10.0.0.0/8",), "IPv6", NodePortAddresses((), answers_on_loopback=False)),
        (("10.0.0.0/8", "0.0.0.0/0"), "IPv4", NodePortAddresses((), answers_on_loopback=True)),
        (("localhost",), "IPv6", NodePortAddresses(("::1/128",), answers_on_loopback=False)),
        (("all",), "IPv6", NodePortAddresses((), answers_on_loopback=False)),
        (
            ("127.0.0.0/8", "10.0.0.0/8"),
            "IPv4",
            NodePortAddresses(("127.0.0.0/8", "10.0.0.0/8"), answers_on_loopback=True),
        ),
    ],
)
def test_the_addresses_of_node_ports(texts: tuple[str, ...], family: Family, expected: NodePortAddresses) -> None:
    if family == "IPv6" and "primary" in texts:
        assert NodePortAddresses.of(texts, family, "fd00::3") == NodePortAddresses(("fd00::3/128",), False)  # noqa: FBT003
        assert NodePortAddresses.of(texts, family, "::1") == NodePortAddresses((), False)  # noqa: FBT003
        assert NodePortAddresses.of(texts, family, None) is None
        return
    assert NodePortAddresses.of(texts, family, "172.30.0.3") == expected


@pytest.mark.parametrize(
    ("changes", "family", "texts"),
    [
        ({}, "IPv4", ("-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",)),
        ({}, "IPv6", ("! -d ::1/128 -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",)),
        (
            {"localhost_node_ports": False},
            "IPv4",
            ("! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",),
        ),
        ({"node_port_addresses": ("172.30.0.0/16",)}, "IPv4", ("-d 172.30.0.3/32 -j KUBE-NODEPORTS",)),
        ({"node_port_addresses": ("10.9.0.0/16",)}, "IPv4", ()),
    ],
)
def test_the_rules_that_lead_to_node_ports(changes: dict[str, Any], family: Family, texts: tuple[str, ...]) -> None:
    assert iptables_node_ports.expected_texts(NODE, family, replace(PROXY, **changes)) == texts


def test_more_addresses_of_a_node_may_be_in_the_ranges() -> None:
    expected = replace(PROXY, node_port_addresses=("172.30.0.0/16", "10.0.0.0/8"))
    rule = "-A KUBE-SERVICES -d {} -j KUBE-NODEPORTS"
    text = rendered_nodes.iptables_text([SERVICE], expected, NODE)

    def found(address: str) -> list[str]:
        lines = text.replace("\nCOMMIT", f"\n{rule.format(address)}\nCOMMIT", 1)
        state = NodeSnapshot(NODE, save.parse(lines))
        return [str(difference.aspect) for difference in IPTABLES.compare(state, SERVICE, expected)]

    assert found("172.30.9.9/32") == found("10.1.2.3/32") == []
    assert found("172.31.0.1/32") == found("172.30.0.0/16") == found("127.0.0.1/32") == [Aspect.EXTERNAL]


@pytest.mark.parametrize(
    ("elements", "count"),
    [
        (["172.30.0.3"], 0),
        (["172.30.0.3", "172.30.9.9"], 0),
        (["172.30.9.9"], 1),
        (["172.30.0.3", "10.1.1.1"], 1),
        ([], 1),
    ],
)
def test_the_set_of_addresses_of_node_ports(elements: list[str], count: int) -> None:
    expected = replace(PROXY, mode="nftables", node_port_addresses=("172.30.0.0/16",))
    printed = rendered_nodes.nftables_json([SERVICE], expected, NODE)
    (nodes_set,) = [item["set"] for item in printed["nftables"] if item.get("set", {}).get("name") == "nodeport-ips"]
    nodes_set["elem"] = elements

    found = NFTABLES.compare(NodeSnapshot(NODE, nftables=table.parse(printed)), SERVICE, expected)

    assert [(difference.chain, difference.aspect) for difference in found] == [
        ("nodeport-ips", Aspect.EXTERNAL)
    ] * count


@pytest.mark.parametrize(
    ("addresses", "protocol", "verdict"),
    [
        (("primary", "localhost"), "TCP", ""),
        (("primary", "localhost"), "UDP", "goto localhost-nodeport-reject-udp"),
        (("primary",), "TCP", "goto localhost-nodeport-reject-tcp"),
    ],
)
def test_node_ports_that_are_refused_at_localhost(addresses: tuple[str, ...], protocol: str, verdict: str) -> None:
    proxy = replace(PROXY, mode="nftables", node_port_addresses=addresses, feature_gates=GATE)
    (port,) = SERVICE.ports
    service = replace(SERVICE, ports=(replace(port, protocol=protocol),))
    printed = rendered_nodes.nftables_json([service], proxy, NODE)

    seen = {
        key["concat"][0]: value
        for item in printed["nftables"]
        if item.get("map", {}).get("name") == "localhost-nodeport-reject-ports"
        for key, value in item["map"]["elem"]
    }

    assert seen == ({protocol.lower(): {"goto": {"target": verdict.removeprefix("goto ")}}} if verdict else {})
    assert NFTABLES.compare(NodeSnapshot(NODE, nftables=table.parse(printed)), service, proxy) == ()
    assert nftables_node_ports.expected_rules(NODE, "IPv6", proxy) is not None


def test_node_ports_of_services_of_others_are_not_refused_at_localhost() -> None:
    proxy = replace(PROXY, mode="nftables", node_port_addresses=("primary", "localhost"), feature_gates=GATE)
    (port,) = SERVICE.ports
    service = replace(SERVICE, ports=(replace(port, protocol="UDP"),))
    of_another_proxy = replace(service, cluster_ips=())
    without, left = (
        NodeSnapshot(NODE, nftables=table.parse(rendered_nodes.nftables_json(services, proxy, NODE)))
        for services in ([], [service])
    )

    assert NFTABLES.compare(without, of_another_proxy, proxy) == ()
    found = {difference.chain: difference for difference in NFTABLES.compare(left, of_another_proxy, proxy)}
    refusal = found["localhost-nodeport-reject-ports"]
    assert (refusal.expected, refusal.seen) == (
        f"udp . {port.node_port}: no such element",
        f"udp . {port.node_port}: goto localhost-nodeport-reject-udp",
    )
