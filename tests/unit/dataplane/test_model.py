"""The Service as read from the API's objects."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.dataplane.model import Endpoint, ServiceState
from session_affinity.dataplane.topology import local_endpoints

pytestmark = pytest.mark.unit


def service(**spec: Any) -> dict[str, Any]:
    base = {
        "clusterIP": "10.200.1.201",
        "clusterIPs": ["10.200.1.201", "fd00:200::c9"],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "ports": [{"name": "svc-webport", "protocol": "TCP", "port": 9000, "targetPort": 80}],
    }
    return {"metadata": {"namespace": "default", "name": "svc-clusterip"}, "spec": base | spec}


def endpoint(address: str, pod: str = "", node: str = "", **conditions: bool | None) -> dict[str, Any]:
    return {
        "addresses": [address],
        "nodeName": node,
        "targetRef": {"kind": "Pod", "name": pod},
        "conditions": conditions or {"ready": True},
    }


def piece(*endpoints: dict[str, Any], **over: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "svc-clusterip"}},
        "addressType": "IPv4",
        "ports": [{"name": "svc-webport", "protocol": "TCP", "port": 80}],
        "endpoints": list(endpoints),
    } | over


def at(state: ServiceState) -> list[str]:
    return [endpoint.at for endpoint in state.endpoints]


def test_endpoints_of_all_slices_come_once_each_in_the_order_of_their_strings() -> None:
    slices = [piece(endpoint("10.10.2.2"), endpoint("10.10.10.2", "p", "n")), piece(endpoint("10.10.2.2"))]

    state = ServiceState.from_objects(service(), slices)

    assert at(state) == ["10.10.10.2:80", "10.10.2.2:80"]
    assert state.ports[0].endpoints[0] == Endpoint("10.10.10.2", 80, "p", "n")


@pytest.mark.parametrize(("ready", "counts"), [(True, True), (None, True), (False, False)])
def test_an_endpoint_is_used_unless_its_ready_condition_is_false(*, ready: bool | None, counts: bool) -> None:
    state = ServiceState.from_objects(service(), [piece(endpoint("10.10.1.2", ready=ready, serving=True))])

    assert bool(state.endpoints) is counts


def test_slices_without_endpoints_and_ports_are_empty() -> None:
    state = ServiceState.from_objects(service(), [piece(endpoints=None), piece(endpoint("10.10.1.2"), ports=None)])

    assert state.endpoints == ()


def test_a_slice_counts_for_the_port_of_its_name_and_protocol() -> None:
    ports = [
        {"name": "dns", "protocol": "UDP", "port": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53},
    ]
    slices = [
        piece(endpoint("10.10.1.2"), ports=[{"name": "dns", "protocol": "UDP", "port": 5353}]),
        piece(endpoint("10.10.1.3"), ports=[{"name": "dns", "protocol": "TCP", "port": 5353}]),
    ]

    state = ServiceState.from_objects(service(ports=ports), slices)

    assert [[endpoint.at for endpoint in port.endpoints] for port in state.ports] == [["10.10.1.2:5353"], []]


def test_slices_of_another_service_are_ignored() -> None:
    labels = {"namespace": "default", "labels": {"kubernetes.io/service-name": "other"}}

    assert not ServiceState.from_objects(service(), [piece(endpoint("10.10.1.2"), metadata=labels)]).endpoints


def test_each_ip_family_has_its_own_state() -> None:
    slices = [piece(endpoint("10.10.1.2")), piece(endpoint("fd00:10:1::2"), addressType="IPv6")]

    state = ServiceState.from_objects(service(), slices, family="IPv6")

    assert (state.cluster_ips, at(state)) == (("fd00:200::c9",), ["[fd00:10:1::2]:80"])


def test_without_affinity_there_is_no_timeout() -> None:
    state = ServiceState.from_objects(service(sessionAffinity="None", sessionAffinityConfig=None), [])

    assert (state.has_affinity, state.timeout_seconds) == (False, None)
    assert "sessionAffinity None" in state.describe()
    assert "timeoutSeconds" not in state.describe()


def test_a_headless_service_has_no_cluster_ip() -> None:
    assert ServiceState.from_objects(service(clusterIP="None", clusterIPs=["None"]), []).cluster_ips == ()


NODE_PORTS = [{"name": "svc-webport", "protocol": "TCP", "port": 9000, "nodePort": 30123}]


@pytest.mark.parametrize(
    ("spec", "cluster", "local"),
    [
        ({}, True, False),
        ({"internalTrafficPolicy": "Local"}, False, True),
        ({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": NODE_PORTS}, True, True),
        ({"type": "ClusterIP", "externalTrafficPolicy": "Local"}, True, False),
        ({"type": "NodePort", "internalTrafficPolicy": "Local", "ports": NODE_PORTS}, True, True),
        ({"externalIPs": ["203.0.113.7"], "externalTrafficPolicy": "Local"}, True, True),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, True, False),
        ({"type": "LoadBalancer", "internalTrafficPolicy": "Local"}, False, True),
    ],
)
def test_traffic_policies_select_the_endpoints_of_a_node(spec: dict[str, Any], *, cluster: bool, local: bool) -> None:
    """A LoadBalancer without node ports and without an address cannot be reached from outside."""
    state = ServiceState.from_objects(service(**spec), [])

    (port,) = state.ports
    assert (state.uses_cluster_endpoints(port), state.uses_local_endpoints(port)) == (cluster, local)


def test_an_unnamed_port_adds_nothing_to_the_name() -> None:
    state = ServiceState.from_objects(service(ports=[{"port": 80}]), [])

    assert state.port_name(state.ports[0]) == "default/svc-clusterip"


DRAINING = {"ready": False, "serving": True, "terminating": True}


def test_serving_terminating_endpoints_are_used_while_none_is_ready() -> None:
    ended = endpoint("10.10.1.4", ready=False, serving=False, terminating=True)

    (port,) = ServiceState.from_objects(service(), [piece(endpoint("10.10.1.3", **DRAINING), ended)]).ports

    assert [endpoint.at for endpoint in port.endpoints] == ["10.10.1.3:80"]
    assert port.serving_terminating == port.endpoints


def test_terminating_endpoints_are_not_used_beside_a_ready_one() -> None:
    found = piece(endpoint("10.10.1.3", **DRAINING), endpoint("10.10.1.2"))

    (port,) = ServiceState.from_objects(service(), [found]).ports

    assert [endpoint.at for endpoint in port.endpoints] == ["10.10.1.2:80"]
    assert [endpoint.at for endpoint in port.serving_terminating] == ["10.10.1.3:80"]


def test_a_node_uses_its_terminating_endpoints_although_others_are_ready_elsewhere() -> None:
    found = piece(endpoint("10.10.1.3", node="a", **DRAINING), endpoint("10.10.2.2", node="b"))

    (port,) = ServiceState.from_objects(service(), [found]).ports

    assert [endpoint.at for endpoint in local_endpoints(port, "a")] == ["10.10.1.3:80"]
    assert [endpoint.at for endpoint in local_endpoints(port, "b")] == ["10.10.2.2:80"]
    assert local_endpoints(port, "c") == ()


def test_addresses_and_ports_for_traffic_from_outside_are_those_of_the_family() -> None:
    ports = [{"name": "svc-webport", "protocol": "TCP", "port": 9000, "nodePort": 30123}]
    given = service(type="LoadBalancer", ports=ports, externalIPs=["203.0.113.7", "2001:db8::7"])
    ingress = [{"ip": "198.51.100.9"}, {"ip": "198.51.100.10", "ipMode": "Proxy"}, {"hostname": "lb.example.org"}]
    given["status"] = {"loadBalancer": {"ingress": ingress}}

    four, six = (ServiceState.from_objects(given, [], family=family) for family in ("IPv4", "IPv6"))

    assert (four.external_ips, four.balancer_ips) == (("203.0.113.7",), ("198.51.100.9",))
    assert (six.external_ips, six.balancer_ips) == (("2001:db8::7",), ())
    assert four.ports[0].node_port == 30123
    assert "svc-webport 9000/TCP at node port 30123" in four.describe()


def test_an_endpoint_has_the_hints_of_its_slice() -> None:
    hints = {"forZones": [{"name": "b"}, {"name": "a"}], "forNodes": [{"name": "n"}]}

    (found,) = ServiceState.from_objects(service(), [piece({**endpoint("10.10.1.2"), "hints": hints})]).endpoints

    assert (found.for_zones, found.for_nodes) == (("a", "b"), ("n",))
