"""The endpoints that a node uses, as in kube-proxy's CategorizeEndpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.topology import usable_endpoints

pytestmark = pytest.mark.unit

ENDPOINTS = (
    Endpoint("10.10.1.2", 80, "webpod1", "worker", for_zones=("east",)),
    Endpoint("10.10.2.2", 80, "webpod2", "worker2", for_zones=("east",)),
    Endpoint("10.10.3.2", 80, "webpod3", "worker3", for_zones=("west",)),
)


def used(
    *endpoints: Endpoint, node: str = "worker2", zone: str = "east", internal: str = "Cluster", external: str = ""
) -> tuple[list[str], list[str]]:
    port = ServicePort("web", "TCP", 9000, endpoints, 30123 if external else 0)
    state = ServiceState(
        "default", "svc", ("10.200.1.7",), "ClientIP", 30, (port,), internal_policy=internal, external_policy=external
    )
    usable = usable_endpoints(state, port, node, zone)
    return [endpoint.pod for endpoint in usable.cluster], [endpoint.pod for endpoint in usable.local]


def without_zones(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, for_zones=())


def test_a_node_uses_the_endpoints_hinted_for_its_zone() -> None:
    assert used(*ENDPOINTS) == (["webpod1", "webpod2"], [])
    assert used(*ENDPOINTS, zone="west") == (["webpod3"], [])


@pytest.mark.parametrize("zone", ["", "north"])
def test_a_node_uses_all_endpoints_while_none_has_a_hint_for_its_zone(zone: str) -> None:
    assert used(*ENDPOINTS, zone=zone)[0] == ["webpod1", "webpod2", "webpod3"]


def test_one_endpoint_without_a_hint_makes_every_node_use_all() -> None:
    assert used(*ENDPOINTS[:2], without_zones(ENDPOINTS[2]))[0] == ["webpod1", "webpod2", "webpod3"]


def test_node_hints_precede_zone_hints_while_every_endpoint_has_one() -> None:
    hinted = [replace(endpoint, for_nodes=(endpoint.node,)) for endpoint in ENDPOINTS]

    assert used(*hinted)[0] == ["webpod2"]
    assert used(*hinted, node="control-plane")[0] == ["webpod1", "webpod2"]
    assert used(*hinted[:2], ENDPOINTS[2])[0] == ["webpod1", "webpod2"]


def test_hints_for_nodes_are_overlooked_where_the_feature_is_off() -> None:
    hinted = [replace(endpoint, for_nodes=(endpoint.node,)) for endpoint in ENDPOINTS]
    state = ServiceState("default", "svc", ("10.200.1.7",), "None", None, (ServicePort("", "TCP", 80, tuple(hinted)),))

    usable = usable_endpoints(state, state.ports[0], "worker2", "east", with_node_hints=False)

    assert [endpoint.pod for endpoint in usable.cluster] == ["webpod1", "webpod2"]


def test_local_policies_use_local_endpoints_whatever_the_hints() -> None:
    assert used(*ENDPOINTS, node="worker3", internal="Local") == ([], ["webpod3"])
    assert used(*ENDPOINTS, node="worker3", external="Local") == (["webpod1", "webpod2"], ["webpod3"])
    assert used(*ENDPOINTS, node="control-plane", internal="Local") == ([], [])
