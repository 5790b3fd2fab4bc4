"""The settings of kube-proxy, discovered from its own pages, from a ConfigMap and from the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from session_affinity.clusters.external import discovery
from session_affinity.clusters.external.discovery import Pages, discover, from_rules
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.nftables.table import Table, parse
from session_affinity.dataplane.pages import PAGES_ARGV
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY, UNKNOWN, ProxyConfig, ProxyConfigs
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.kube.api import ApiError
from session_affinity.nodes.node import Completed

pytestmark = pytest.mark.unit

SETTINGS: dict[str, Any] = {
    "mode": "iptables",
    "clusterCIDR": "10.10.0.0/16,fd00::/48",
    "detectLocalMode": "ClusterCIDR",
    "iptables": {"masqueradeBit": 15, "masqueradeAll": False},
}
RULES = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-SEP-A - [0:0]
-A KUBE-SVC-A ! -s {cidr} -d 10.200.1.1/32 -p tcp -m tcp --dport 443 -j KUBE-MARK-MASQ
-A KUBE-SEP-A -s 10.10.0.9/32 -j KUBE-MARK-MASQ
COMMIT
"""


def configz(**changes: Any) -> str:
    settings = {"kubeproxy.config.k8s.io": {**SETTINGS, **changes}}
    return f"configz {json.dumps(settings)}\nmode {changes.get('mode', 'iptables')}\n"


def rules(cidr: str = "10.10.0.0/16", name: str = "n") -> NodeSnapshot:
    return NodeSnapshot(name, save.parse(RULES.format(cidr=cidr)))


class Api:
    """Has the ConfigMap of kubeadm, or not."""

    def __init__(self, configuration: object = None) -> None:
        self.configuration = configuration

    def get(self, *_: object) -> dict[str, Any]:
        if self.configuration is None:
            raise ApiError("no", status=404)
        return {"data": {"config.conf": yaml.safe_dump(self.configuration)}}


class Node:
    """Prints the pages of a kube-proxy, or the rules, as a node does."""

    def __init__(self, name: str, pages: str = "", rules: str = "", missing: str = "") -> None:
        self.name, self.pages, self.rules, self.missing = name, pages, rules, missing

    def run(self, argv: Any, **_: object) -> Completed:
        read = f"@@affinity rules iptables-save\n{self.rules}" if self.rules else ""
        read += f"@@affinity missing {self.missing}\n" if self.missing else ""
        stdout = self.pages if argv == PAGES_ARGV else f"{read}@@affinity end\n"
        return Completed(self.name, tuple(argv), 0, stdout, "")


def discovered(*nodes: Node, configuration: object = None) -> ProxyConfigs:
    api: Any = Api(configuration)
    return discover(api, {node.name: node for node in nodes})


def test_the_page_of_kube_proxy_counts_before_the_config_map() -> None:
    configs = discovered(Node("a", configz()), Node("b", configz()), configuration={"mode": "nftables"})

    config = configs.of("b")
    assert (config.mode, config.cluster_cidr, config.masquerade_bit) == ("iptables", "10.10.0.0/16,fd00::/48", 15)
    assert config.source == "kube-proxy itself (127.0.0.1:10249/configz)"
    assert configs.not_judged == ""


def test_each_node_has_the_settings_of_its_own_kube_proxy() -> None:
    other = configz(iptables={"masqueradeBit": 14, "minSyncPeriod": "10s"})

    configs = discovered(Node("a", configz()), Node("b", other))

    assert [configs.of(name).masquerade_bit for name in "ab"] == [15, 14]
    assert (configs.mode, configs.min_sync_period, configs.not_judged) == ("iptables", 10.0, "")


def test_without_nodes_the_config_map_counts_and_no_node_is_judged() -> None:
    configs = discovered(configuration=SETTINGS)

    assert str(configs) == (
        "kube-proxy: iptables mode, cluster CIDR 10.10.0.0/16,fd00::/48, masquerade bit 15, "
        "read from ConfigMap kube-system/kube-proxy"
    )
    assert configs.not_judged == configs.facts()["rules not judged"] == discovery.NO_ACCESS


@pytest.mark.parametrize("configuration", [None, "text", {"iptables": "text"}])
def test_without_nodes_and_config_map_nothing_is_assumed(configuration: object) -> None:
    configs = discovered(configuration=configuration)

    assert str(configs) == "kube-proxy: unknown (ConfigMap kube-system/kube-proxy cannot be read, and no node)"


def test_a_mode_without_settings_is_completed_from_the_rules() -> None:
    configs = discovered(Node("a", "mode iptables\n", RULES.format(cidr="10.0.0.0/8")))

    config = configs.of("a")
    assert (config.mode, config.cluster_cidr, config.detect_local_mode) == ("iptables", "10.0.0.0/8", "ClusterCIDR")
    assert config.source == "kube-proxy itself (127.0.0.1:10249/proxyMode), the rest from the rules on the nodes"


def test_a_mode_without_settings_is_completed_from_the_config_map() -> None:
    settings = {**SETTINGS, "nftables": {"masqueradeBit": 13}}

    config = discovered(Node("a", "mode nftables\n"), configuration=settings).of("a")

    assert (config.mode, config.cluster_cidr, config.masquerade_bit) == ("nftables", "10.10.0.0/16,fd00::/48", 13)
    assert "the rest from ConfigMap" in config.source


def test_a_kube_proxy_that_does_not_answer_is_judged_by_the_config_map() -> None:
    configs = discovered(Node("a", rules=RULES.format(cidr="10.0.0.0/8")), Node("b"), configuration=SETTINGS)

    assert configs.of("a") == configs.of("b")
    assert (configs.of("a").masquerade_bit, configs.not_judged) == (15, "")


def test_a_kube_proxy_that_does_not_answer_shows_its_settings_in_rules() -> None:
    config = discovered(Node("a", rules=RULES.format(cidr="10.0.0.0/8"))).of("a")

    assert (config.mode, config.cluster_cidr, config.source) == ("iptables", "10.0.0.0/8", discovery.RULES)


@pytest.mark.parametrize("configuration", [None, SETTINGS])
def test_a_cluster_whose_nodes_have_no_rules_has_no_kube_proxy(configuration: object) -> None:
    """The ConfigMap is what kubeadm left where kube-proxy was replaced later."""
    configs = discovered(Node("a"), Node("b"), configuration=configuration)

    assert configs.mode == NO_KUBE_PROXY
    assert configs.not_judged == (
        "the cluster has no kube-proxy (no kube-proxy answers at 127.0.0.1:10249, and 2 nodes have no rules of one): "
        "claims about its rules cannot be judged here"
    )


@pytest.mark.parametrize("pages", [configz(), ""])
def test_rules_that_the_agent_cannot_read_are_not_taken_for_missing(pages: str) -> None:
    """On a node whose kube-proxy writes with the legacy iptables, in an image that has only that of nftables."""
    configs = discovered(Node("a", pages, missing="iptables-legacy-save"))

    assert configs.mode == ("iptables" if pages else UNKNOWN)
    assert configs.not_judged == ("rules are in the legacy iptables' tables on a, which the agent's image cannot read")


def test_nodes_in_different_modes_are_named() -> None:
    configs = discovered(Node("a", configz()), Node("b", configz(mode="nftables")))

    assert (configs.mode, configs.not_judged) == ("iptables", "")
    assert configs.left_out.startswith("b: its kube-proxy runs in nftables mode")


def test_a_node_whose_kube_proxy_alone_does_not_answer_is_named() -> None:
    configs = discovered(Node("a", configz()), Node("b"))

    assert configs.left_out.startswith(
        "b: the mode of kube-proxy is not known (no kube-proxy answers at 127.0.0.1:10249"
    )


def test_a_node_without_rules_among_others_is_named() -> None:
    configs = discovered(Node("a", rules=RULES.format(cidr="10.0.0.0/8")), Node("b"))

    assert configs.left_out.startswith("b: the mode of kube-proxy is not known (no kube-proxy answers")


def test_rules_without_a_masquerade_rule_show_no_range() -> None:
    text = "\n".join(line for line in RULES.splitlines() if "! -s" not in line)

    assert from_rules([NodeSnapshot("n", save.parse(text))])["n"].cluster_cidr is None


def test_a_range_for_each_node_is_no_cluster_cidr() -> None:
    configs = ProxyConfigs(from_rules([rules("10.10.0.0/24", "a"), rules("10.10.1.0/24", "b")]))

    assert configs.mode == "iptables"
    assert "detectLocalMode is not known" in configs.not_judged
    assert "several ranges: 10.10.0.0/24, 10.10.1.0/24" in configs.not_judged


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("azv+", {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "azv"}),
        ("cni0", {"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"}),
    ],
)
def test_rules_show_the_interfaces_of_pods(name: str, changes: dict[str, Any]) -> None:
    seen = NodeSnapshot("n", save.parse(RULES.replace("! -s {cidr}", f"! -i {name}")))

    assert from_rules([seen])["n"] == ProxyConfig("iptables", None, **changes)
    assert from_rules([seen, rules(name="other")])["n"].detect_local_mode == UNKNOWN


def test_a_table_shows_the_interfaces_of_pods() -> None:
    match = {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "azv*"}}
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 16384]}}}
    printed = {"nftables": [{"chain": {"name": "services"}}, {"rule": {"chain": "services", "expr": [match, mark]}}]}

    config = from_rules([NodeSnapshot("n", nftables=parse(printed))])["n"]

    assert (config.detect_local_mode, config.interface_name_prefix) == ("InterfaceNamePrefix", "azv")


IPVS_RULES = """\
*nat
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES ! -s 10.10.0.0/16 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" \
-m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
"""
"""As kube-proxy in ipvs mode writes them, without a Service of type NodePort."""


@pytest.mark.parametrize("pages", [configz(mode="ipvs"), "mode ipvs\n", ""], ids=["configz", "mode", "rules"])
def test_ipvs_is_found_and_named(pages: str) -> None:
    configs = discovered(Node("a", pages, IPVS_RULES), Node("b", pages, IPVS_RULES))

    assert (configs.mode, configs.not_judged) == ("ipvs", "")
    assert str(configs).startswith("kube-proxy: ipvs mode")


def test_a_range_of_each_family_is_one_cluster_cidr() -> None:
    config = from_rules([rules("fd00:1::/56"), rules("10.10.0.0/16")])["n"]

    assert (config.cluster_cidr, config.source) == ("10.10.0.0/16,fd00:1::/56", discovery.RULES)


def test_a_table_of_nftables_shows_the_mode() -> None:
    assert from_rules([NodeSnapshot("n", nftables=Table())])["n"].mode == "nftables"


@pytest.mark.parametrize("pages", [configz(), "mode iptables\n"], ids=["configz", "mode"])
@pytest.mark.parametrize("version", ["v1.36.3", "v1.34.4-gke.100", "v0.0.0-master+$Format:%H$", "unknown"])
def test_the_release_is_that_of_kube_proxy_itself(pages: str, version: str) -> None:
    metric = f'kubernetes_build_info{{build_date="2026-01-01",git_version="{version}",major="1",minor="0"}} 1\n'

    config = discovered(Node("a", pages + metric), Node("b", configz())).of("a")

    assert config.release == {"v1.36.3": (1, 36), "v1.34.4-gke.100": (1, 34)}.get(version)


@pytest.mark.parametrize("text", ["configz <html>\n", "", 'configz {"kubeproxy.config.k8s.io": {"iptables": 1}}\n'])
def test_a_page_that_is_no_configuration_counts_as_no_answer(text: str) -> None:
    assert not Pages.parse(text)
