"""What is sent to agents and back: the same values, and no class but the known ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from session_affinity.dataplane import codec
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.model import ServiceState
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.errors import NodeError

pytestmark = pytest.mark.unit

SERVICE = {
    "metadata": {"namespace": "default", "name": "x"},
    "spec": {
        "clusterIPs": ["10.200.1.1"],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 30}},
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30001,
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "externalIPs": ["192.0.2.1"],
        "ports": [{"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30080}],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
}


def endpoint_slice(number: int, *, ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": f"x{number}", "labels": {"kubernetes.io/service-name": "x"}},
        "addressType": "IPv4",
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": ["10.10.1.2"],
                "conditions": {"ready": ready, "serving": True, "terminating": not ready},
                "nodeName": "a",
                "hints": {"forZones": [{"name": "east"}], "forNodes": [{"name": "a"}]},
            }
        ],
    }


STATE = ServiceState.from_objects(SERVICE, [endpoint_slice(1, ready=True), endpoint_slice(2, ready=False)])
PROXY = ProxyConfig(
    "nftables",
    None,
    masquerade_bit=3,
    node_port_addresses=("primary",),
    feature_gates={"AllAlpha": True},
    pod_cidrs=("10.10.1.0/24",),
    zones={"a": "east"},
    node_addresses={"a": ("172.30.0.4",)},
)
DIFFERENCE = Difference("a", "KUBE-SVC-X", None, Aspect.AFFINITY_ORDER, "first", "second", "Service default/x")


@pytest.mark.parametrize("value", [STATE, PROXY, DIFFERENCE, (STATE, None, 1.5, "text", True), ()])
def test_a_value_is_the_same_after_it_was_sent(value: object) -> None:
    assert STATE.ports[0].twins
    sent = json.dumps(codec.encoded(value))

    assert codec.decoded(json.loads(sent)) == value


def test_fields_that_have_their_default_are_not_sent() -> None:
    assert codec.encoded(ProxyConfig("iptables", None)) == {
        "@": "ProxyConfig",
        "mode": "iptables",
        "cluster_cidr": None,
    }


def test_only_known_classes_are_sent_and_read() -> None:
    @dataclass
    class Other:
        name: str = ""

    for value in (Other(), {1, 2}):
        with pytest.raises(TypeError):
            codec.encoded(value)
    for data in ({"@": "Path", "name": "/"}, {"@": "Endpoint"}, {"@": "Difference", "aspect": "none"}):
        with pytest.raises(NodeError, match="data that cannot be read"):
            codec.decoded(data)
