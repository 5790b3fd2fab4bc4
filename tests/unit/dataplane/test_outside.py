"""Rules for traffic from outside in both modes, tested with dumps of kube-proxy 1.37 and two Services.

``through`` has a node port; ``local`` has one too, an external address, and externalTrafficPolicy Local. Both have
ClientIP and an endpoint on each worker; the control plane has none.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables import layout as nftables_layout
from session_affinity.dataplane.nftables import table as nftables_table
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot

if TYPE_CHECKING:
    from session_affinity.dataplane.differences import Difference

pytestmark = pytest.mark.unit

DUMPS = Path(__file__).parent / "dumps"
CONTROL, WORKER = "control-plane", "worker"
NODES = (CONTROL, WORKER)
CIDR = "10.10.0.0/16"
ENDPOINTS = tuple(
    Endpoint(f"10.10.{number}.2", 80, f"webpod{number}", f"worker{number if number > 1 else ''}")
    for number in (1, 2, 3)
)
THROUGH = ServiceState(
    "default",
    "through",
    ("10.200.1.27",),
    CLIENT_IP,
    10800,
    (ServicePort("web", "TCP", 9000, ENDPOINTS, 30127),),
    external_policy="Cluster",
)
LOCAL = replace(
    THROUGH,
    name="local",
    cluster_ips=("10.200.1.28",),
    ports=(ServicePort("web", "TCP", 9000, ENDPOINTS, 30128),),
    external_policy="Local",
    external_ips=("198.51.100.77",),
)
SERVICES = (THROUGH, LOCAL)
(EXT,) = iptables_expected.port_chains(THROUGH, "KUBE-EXT-")
(EXT_LOCAL,) = iptables_expected.port_chains(LOCAL, "KUBE-EXT-")
(SVC_LOCAL,) = iptables_expected.port_chains(LOCAL, "KUBE-SVC-")
(SVL_LOCAL,) = iptables_expected.port_chains(LOCAL, "KUBE-SVL-")


@cache
def printed(mode: str, node: str) -> str:
    suffix = {"iptables": "txt", "nftables": "json"}[mode]
    return (DUMPS / f"{mode}-outside-1.37-{node}.{suffix}").read_text()


def snapshot(mode: str, node: str, *changes: tuple[str, str], without: tuple[str, ...] = ()) -> NodeSnapshot:
    """Return a node with texts replaced and without the lines that contain all of ``without``; each must occur."""
    text = printed(mode, node)
    if without:
        kept = [line for line in text.splitlines() if not all(part in line for part in without)]
        assert len(kept) < len(text.splitlines())
        text = "\n".join(kept).replace(",\n]", "\n]")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    if mode == "iptables":
        return NodeSnapshot(node, iptables_save.parse(text))
    return NodeSnapshot(node, nftables=nftables_table.parse(json.loads(text)))


def differences(state: NodeSnapshot, service: ServiceState) -> tuple[Difference, ...]:
    backend = IPTABLES if state.nftables is None else NFTABLES
    return backend.compare(state, service, ProxyConfig(backend.mode, CIDR))


def only(state: NodeSnapshot, service: ServiceState) -> tuple[str, Aspect]:
    (difference,) = differences(state, service)
    return difference.chain, difference.aspect


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_real_node_has_no_differences(mode: str, node: str, service: ServiceState) -> None:
    state = snapshot(mode, node)

    assert differences(state, service) == ()
    many = (IPTABLES if mode == "iptables" else NFTABLES).compare_many(state, SERVICES, ProxyConfig(mode, CIDR))
    assert many == dict.fromkeys(SERVICES, ())


def test_a_node_without_a_local_endpoint_has_no_local_chain() -> None:
    without, with_one = (
        iptables_expected.expected(LOCAL, ProxyConfig("iptables", CIDR), node).chains for node in NODES
    )

    assert SVL_LOCAL not in without
    assert [entry.rule.target for entry in with_one[EXT_LOCAL]] == [SVC_LOCAL, "KUBE-MARK-MASQ", SVC_LOCAL, SVL_LOCAL]
    assert [entry.rule.target for entry in without[EXT_LOCAL]] == [SVC_LOCAL, "KUBE-MARK-MASQ", SVC_LOCAL]


def test_a_load_balancer_with_source_ranges_leads_to_the_firewall_chain() -> None:
    balanced = replace(THROUGH, balancer_ips=("198.51.100.9",))
    ranged = replace(balanced, source_ranges=("203.0.113.0/24",))
    proxy = ProxyConfig("iptables", CIDR)

    plain, filtered = (iptables_expected.expected(service, proxy, WORKER) for service in (balanced, ranged))

    (chain,) = iptables_expected.port_chains(ranged, "KUBE-FW-")
    assert [entry.rule.target for entry in plain.entries] == [
        *iptables_expected.port_chains(THROUGH, "KUBE-SVC-"),
        EXT,
        EXT,
    ]
    assert [entry.rule.target for entry in filtered.entries][1:] == [chain, EXT]
    assert chain not in plain.chains
    assert [str(rule.rule) for rule in filtered.chains[chain]] == [
        f"-A {chain} -s 203.0.113.0/24 -j {EXT}",
        f"-A {chain} -s 198.51.100.9/32 -j {EXT}",
        f"-A {chain}",
    ]
    assert [rule.optional for rule in filtered.chains[chain]] == [False, True, False]


# Each mutation is exactly one difference at its place.


def test_a_node_port_that_leads_nowhere() -> None:
    state = snapshot("iptables", WORKER, without=("-A KUBE-NODEPORTS -p tcp", "--dport 30127"))

    assert only(state, THROUGH) == ("KUBE-NODEPORTS", Aspect.EXTERNAL)
    assert differences(state, LOCAL) == ()


def test_a_node_port_that_leads_to_another_service() -> None:
    state = snapshot("iptables", WORKER, (f"--dport 30127 -j {EXT}", f"--dport 30127 -j {EXT_LOCAL}"))

    assert {difference.chain for difference in differences(state, THROUGH)} == {"KUBE-NODEPORTS"}


def test_no_rule_leads_to_node_ports() -> None:
    assert only(snapshot("iptables", WORKER, without=("-j KUBE-NODEPORTS",)), THROUGH) == (
        "KUBE-SERVICES",
        Aspect.EXTERNAL,
    )
    state = snapshot("nftables", WORKER, ('"@service-nodeports"', '"@other"'))
    assert only(state, THROUGH) == ("services", Aspect.EXTERNAL)


def test_the_rule_that_counts_loopback_traffic_may_be_missing() -> None:
    assert differences(snapshot("iptables", WORKER, without=("-d 127.0.0.0/8",)), THROUGH) == ()


def test_an_external_address_that_leads_past_the_external_chain() -> None:
    state = snapshot("iptables", WORKER, (f"--dport 9000 -j {EXT_LOCAL}", f"--dport 9000 -j {SVC_LOCAL}"))

    assert only(state, LOCAL) == ("KUBE-SERVICES", Aspect.EXTERNAL)


def test_an_external_chain_without_its_mark() -> None:
    state = snapshot("iptables", WORKER, without=(f"-A {EXT} ", "KUBE-MARK-MASQ"))

    assert only(state, THROUGH) == (EXT, Aspect.MASQUERADE)


def test_an_external_chain_that_is_missing() -> None:
    state = snapshot("iptables", WORKER, without=(EXT,))

    assert {(difference.chain, difference.aspect) for difference in differences(state, THROUGH)} == {
        ("KUBE-NODEPORTS", Aspect.EXTERNAL),
        (EXT, Aspect.CHAIN_NAMES),
    }


@pytest.mark.parametrize("part", ["-s 10.10.0.0/16", f"--src-type LOCAL -j {SVC_LOCAL}"])
def test_a_missing_rule_for_pods_or_for_the_node(part: str) -> None:
    (difference,) = differences(snapshot("iptables", WORKER, without=(f"-A {EXT_LOCAL}", part)), LOCAL)

    assert (difference.chain, difference.rule, difference.aspect) == (EXT_LOCAL, None, Aspect.EXTERNAL)


def test_traffic_from_outside_sent_to_all_endpoints() -> None:
    (difference,) = differences(snapshot("iptables", WORKER, (f"-j {SVL_LOCAL}", f"-j {SVC_LOCAL}")), LOCAL)

    assert (difference.chain, difference.rule, difference.aspect) == (EXT_LOCAL, 4, Aspect.EXTERNAL)


def test_the_rule_for_pods_after_all_others() -> None:
    line = next(line for line in printed("iptables", WORKER).splitlines() if f"-A {EXT_LOCAL} -s" in line)
    last = f"-A {EXT_LOCAL} -j {SVL_LOCAL}"

    state = snapshot("iptables", WORKER, (f"{line}\n", ""), (last, f"{last}\n{line}"))

    (difference,) = differences(state, LOCAL)
    assert (difference.chain, difference.aspect) == (EXT_LOCAL, Aspect.EXTERNAL)
    assert "traffic from pods and from the node before all other" in difference.expected


def test_an_affinity_rule_of_another_nodes_endpoint_in_the_local_chain() -> None:
    local, other, _ = iptables_expected.endpoint_chains(LOCAL)
    rule = f"-A {SVL_LOCAL} -m recent --rcheck --seconds 10800 --reap --name {other} --rsource -j {other}"
    state = snapshot("iptables", WORKER, ("COMMIT", f"{rule}\nCOMMIT"))

    (difference,) = differences(state, LOCAL)
    assert (difference.chain, difference.aspect) == (SVL_LOCAL, Aspect.AFFINITY_PRESENCE)
    assert local != other


# The same in nftables.

(NFT_EXT,) = nftables_layout.port_chains(THROUGH, "external-")
(NFT_LOCAL,) = nftables_layout.port_chains(LOCAL, "external-")


def test_nft_a_node_port_that_leads_nowhere() -> None:
    element = f'[{{"concat": ["tcp", 30127]}}, {{"goto": {{"target": "{NFT_EXT}"}}}}], '

    assert only(snapshot("nftables", WORKER, (element, "")), THROUGH) == ("service-nodeports", Aspect.EXTERNAL)


def test_nft_a_missing_refusal_on_a_node_without_a_local_endpoint() -> None:
    state = snapshot(
        "nftables",
        CONTROL,
        (
            '"elem": [[{"elem": {"val": {"concat": ["tcp", 30128]}, ',
            '"was": [[{"elem": {"val": {"concat": ["tcp", 30128]}, ',
        ),
    )

    assert only(state, LOCAL) == ("no-endpoint-nodeports", Aspect.EXTERNAL)


def test_nft_an_external_chain_without_its_mark() -> None:
    assert only(snapshot("nftables", WORKER, without=(f'"chain": "{NFT_EXT}"', '"mangle"')), THROUGH) == (
        NFT_EXT,
        Aspect.MASQUERADE,
    )


@pytest.mark.parametrize("part", ['"short-circuit pod traffic"', '"short-circuit local traffic"'])
def test_nft_a_missing_rule_for_pods_or_for_the_node(part: str) -> None:
    assert only(snapshot("nftables", WORKER, without=(NFT_LOCAL, part)), LOCAL) == (NFT_LOCAL, Aspect.EXTERNAL)


def test_nft_another_service_may_have_the_same_external_address() -> None:
    element = '[{"concat": ["198.51.100.77", "tcp", 9000]}'
    other = f'[{{"concat": ["198.51.100.77", "tcp", 9001]}}, {{"goto": {{"target": "external-x"}}}}], {element}'

    assert differences(snapshot("nftables", WORKER, (element, other)), LOCAL) == ()
