"""What kube-proxy is like, from what it says itself, from a ConfigMap and from the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from session_affinity.clusters.external import discovery
from session_affinity.clusters.external.discovery import Proxy, discover, from_answers, from_rules, from_settings
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.nftables.table import Table
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

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.settings = settings

    def get(self, *_: object) -> dict[str, Any]:
        if self.settings is None:
            raise ApiError("no", status=404)
        return {"data": {"config.conf": yaml.safe_dump(self.settings)}}


class Node:
    """Answers what it is asked as a node with this kube-proxy does."""

    def __init__(self, name: str, told: str = "", rules: str = "", missing: str = "") -> None:
        self.name, self.told, self.rules, self.missing = name, told, rules, missing

    def run(self, argv: Any, **_: object) -> Completed:
        read = f"@@affinity rules iptables-save\n{self.rules}" if self.rules else ""
        read += f"@@affinity missing {self.missing}\n" if self.missing else ""
        stdout = self.told if argv == discovery._ASK else f"{read}@@affinity end\n"
        return Completed(self.name, tuple(argv), 0, stdout, "")


def found(*nodes: Node, settings: dict[str, Any] | None = None) -> Proxy:
    return discover(Api(settings), {node.name: node for node in nodes})


def test_kube_proxy_itself_is_believed_first() -> None:
    proxy = found(Node("a", configz()), Node("b", configz()), settings={"mode": "nftables"})

    assert (proxy.mode, proxy.cluster_cidr, proxy.masquerade_bit) == ("iptables", "10.10.0.0/16,fd00::/48", 15)
    assert proxy.source == "kube-proxy itself (127.0.0.1:10249/configz) on 2 of 2 nodes"
    assert proxy.not_judged == ""


def test_without_nodes_the_config_map_tells() -> None:
    proxy = found(settings=SETTINGS)

    assert str(proxy) == (
        "kube-proxy: iptables mode, cluster CIDR 10.10.0.0/16,fd00::/48, read from ConfigMap kube-system/kube-proxy"
    )


def test_without_nodes_and_config_map_nothing_is_assumed() -> None:
    proxy = found()

    assert proxy.mode == discovery.UNKNOWN
    assert "no ConfigMap" in proxy.not_judged


def test_a_kube_proxy_that_tells_its_mode_only_is_completed_from_the_rules() -> None:
    proxy = found(Node("a", "mode iptables\n", RULES.format(cidr="10.0.0.0/8")))

    assert (proxy.mode, proxy.cluster_cidr, proxy.local_by) == ("iptables", "10.0.0.0/8", "ClusterCIDR")
    assert str(proxy) == (
        "kube-proxy: iptables mode, cluster CIDR 10.0.0.0/8 (from the rules of 1 nodes), "
        "read from kube-proxy itself (127.0.0.1:10249/proxyMode) on 1 of 1 nodes"
    )


def test_a_kube_proxy_that_tells_its_mode_only_is_completed_from_the_config_map() -> None:
    proxy = found(Node("a", "mode nftables\n"), settings=SETTINGS)

    assert (proxy.mode, proxy.cluster_cidr) == ("nftables", "10.10.0.0/16,fd00::/48")
    assert "the rest from ConfigMap" in proxy.source


def test_a_silent_kube_proxy_is_known_by_its_rules() -> None:
    proxy = found(Node("a", rules=RULES.format(cidr="10.0.0.0/8")))

    assert (proxy.mode, proxy.cluster_cidr, proxy.source) == ("iptables", "10.0.0.0/8", "the rules of 1 nodes")


def test_a_cluster_without_kube_proxy_says_so() -> None:
    proxy = found(Node("a"))

    assert proxy.mode == discovery.NONE
    assert proxy.not_judged.startswith("the cluster has no kube-proxy (none answers at 127.0.0.1:10249, and the rules")


@pytest.mark.parametrize("told", [configz(), ""])
def test_rules_that_the_agent_cannot_read_are_not_taken_for_missing(told: str) -> None:
    """On a node whose kube-proxy writes with the legacy iptables, in an image that has only that of nftables."""
    proxy = found(Node("a", told, missing="iptables-legacy-save"))

    assert proxy.mode == ("iptables" if told else discovery.UNKNOWN)
    assert proxy.not_judged == ("rules are in the legacy iptables' tables on a, which the agent's image cannot read")


def test_nodes_that_disagree_are_named_with_what_they_say() -> None:
    proxy = found(Node("a", configz()), Node("b", configz(mode="nftables")))

    assert proxy.mode == discovery.UNKNOWN
    assert "a: iptables, ClusterCIDR 10.10.0.0/16,fd00::/48; b: nftables" in proxy.not_judged


def test_a_node_without_kube_proxy_among_others_is_named() -> None:
    assert "answers at 127.0.0.1:10249 on b; elsewhere iptables" in found(Node("a", configz()), Node("b")).not_judged


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"detectLocalMode": "NodeCIDR"}, "by NodeCIDR", id="local-mode"),
        pytest.param({"iptables": {"masqueradeAll": True}}, "masqueradeAll", id="masquerade-all"),
    ],
)
def test_what_the_suite_has_no_rules_for_is_not_judged(changes: dict[str, Any], reason: str) -> None:
    assert reason in from_settings({**SETTINGS, **changes}, "x").not_judged


def test_another_mode_is_left_to_the_claims_about_it() -> None:
    assert from_settings({**SETTINGS, "mode": "nftables"}, "x").not_judged == ""


def test_what_a_configuration_leaves_out_has_kube_proxys_defaults() -> None:
    assert from_settings({"mode": "", "clusterCIDR": ""}, "x") == Proxy("iptables", "x", None, 14)


def test_rules_without_a_masquerade_rule_show_no_range() -> None:
    text = "\n".join(line for line in RULES.splitlines() if "! -s" not in line)

    assert from_rules([NodeSnapshot("n", save.parse(text))]).cluster_cidr is None


def test_a_range_for_each_node_is_no_cluster_cidr() -> None:
    proxy = from_rules([rules("10.10.0.0/24", "a"), rules("10.10.1.0/24", "b")])

    assert "several ranges (10.10.0.0/24, 10.10.1.0/24)" in proxy.not_judged


def test_a_range_of_each_family_is_one_cluster_cidr() -> None:
    proxy = from_rules([rules("fd00:1::/56"), rules("10.10.0.0/16")])

    assert (proxy.cluster_cidr, proxy.source) == ("10.10.0.0/16,fd00:1::/56", "the rules of 1 nodes")


def test_the_table_of_nftables_tells_the_mode() -> None:
    assert from_rules([NodeSnapshot("n", nftables=Table())]).mode == "nftables"


def test_an_answer_that_is_no_configuration_is_passed_over() -> None:
    assert from_answers({"a": "configz <html>\n", "b": ""}) is None
