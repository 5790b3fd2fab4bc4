"""Shapes of Services and slices that kube-proxy reads in its own way, each in the smallest form that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.dataplane.model import (
    HEADLESS_LABEL,
    PROXY_NAME_LABEL,
    SERVICE_NAME_LABEL,
    ServiceState,
    canonical_address,
    canonical_range,
)
from session_affinity.dataplane.topology import usable_endpoints

READY = {"ready": True}
NOT_READY = {"ready": False, "serving": False, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
ENDED = {"ready": False, "serving": False, "terminating": True}


def service(name: str = "e", *, labels: dict[str, str] | None = None, ingress: Any = (), **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": name, "labels": labels or {}},
        "spec": {"clusterIP": "10.200.1.7", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }


def endpoint(address: str, conditions: dict[str, bool] | None = None, **fields: Any) -> dict[str, Any]:
    return {"addresses": [address], "conditions": READY if conditions is None else conditions, **fields}


def piece(*endpoints: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "labels": {SERVICE_NAME_LABEL: "e", **labels}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def state(*slices: dict[str, Any], release: tuple[int, int] = (1, 37), **spec: Any) -> ServiceState:
    return ServiceState.from_objects(service(**spec), slices, release=release)


def at(service_state: ServiceState) -> list[str]:
    return [endpoint.at for endpoint in service_state.endpoints]


# Source ranges.


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([" 192.0.2.0/24"], ("192.0.2.0/24",)),
        (["192.0.2.7/24 ", "198.51.100.1/32"], ("192.0.2.0/24", "198.51.100.1/32")),
        (["192.0.2.0/24", "0.0.0.0/0"], ()),
        (["192.0.2.0/24", "::/0"], ("192.0.2.0/24",)),
        (["fd00::/8"], ()),
        (["", "no range"], ()),
    ],
)
def test_source_ranges_are_trimmed_and_any_address_means_none(ranges: list[str], expected: tuple[str, ...]) -> None:
    assert state(type="LoadBalancer", loadBalancerSourceRanges=ranges).source_ranges == expected


def test_until_1_33_the_range_of_all_addresses_is_one_like_others() -> None:
    ranges = ["192.0.2.0/24", "0.0.0.0/0"]

    assert state(type="LoadBalancer", loadBalancerSourceRanges=ranges, release=(1, 33)).source_ranges == tuple(ranges)


# Conditions.


def test_an_endpoint_that_terminates_and_leaves_serving_out_still_serves() -> None:
    assert at(state(piece(endpoint("10.10.1.70", {"ready": False, "terminating": True})))) == ["10.10.1.70:80"]


def test_of_an_address_that_is_listed_twice_the_entry_that_does_not_terminate_counts() -> None:
    both = piece(endpoint("10.10.1.70", NOT_READY), endpoint("10.10.1.70", DRAINING))
    ready_last = piece(endpoint("10.10.1.70", DRAINING), endpoint("10.10.1.70"))

    assert at(state(both)) == []
    assert state(both).ports[0].serving_terminating == ()
    assert at(state(ready_last)) == ["10.10.1.70:80"]
    assert state(both).undefined_endpoints == state(ready_last).undefined_endpoints == ()


def test_of_entries_that_all_terminate_the_first_counts() -> None:
    assert at(state(piece(endpoint("10.10.1.70", ENDED), endpoint("10.10.1.70", DRAINING)))) == []
    assert at(state(piece(endpoint("10.10.1.70", DRAINING), endpoint("10.10.1.70", ENDED)))) == ["10.10.1.70:80"]


def test_the_entry_that_counts_has_the_node_and_hints_too() -> None:
    zone = {"forZones": [{"name": "za"}]}
    slices = piece(endpoint("10.10.1.70", DRAINING, nodeName="old"), endpoint("10.10.1.70", nodeName="new", hints=zone))

    (seen,) = state(slices).endpoints
    assert (seen.node, seen.for_zones) == ("new", ("za",))


def test_until_1_35_the_first_entry_counts_unless_one_is_on_the_node_itself() -> None:
    slices = piece(endpoint("10.10.1.70", DRAINING, nodeName="a"), endpoint("10.10.1.70", nodeName="b"))
    old = state(slices, piece(endpoint("10.10.1.71", nodeName="c")), release=(1, 35))

    by_node = {node: [at(alternative) for alternative in old.alternatives(node)] for node in "abc"}
    assert by_node == {
        "a": [["10.10.1.71:80"]],
        "b": [["10.10.1.70:80", "10.10.1.71:80"]],
        "c": [["10.10.1.71:80"]],
    }


# Slices that disagree.


def test_slices_that_disagree_leave_an_endpoint_undefined() -> None:
    twins = state(piece(endpoint("10.10.1.70"), endpoint("10.10.1.71")), piece(endpoint("10.10.1.70", NOT_READY)))

    assert twins.undefined_endpoints == ("10.10.1.70:80",)
    assert sorted(at(alternative) for alternative in twins.alternatives("n")) == [
        ["10.10.1.70:80", "10.10.1.71:80"],
        ["10.10.1.71:80"],
    ]


def test_two_that_terminate_and_of_which_one_serves_are_undefined_too() -> None:
    twins = state(piece(endpoint("10.10.1.70", DRAINING)), piece(endpoint("10.10.1.70", ENDED)))

    assert twins.undefined_endpoints == ("10.10.1.70:80",)
    assert len(list(twins.alternatives("n"))) == 2


def test_a_ghost_that_terminates_beside_a_ready_entry_is_defined() -> None:
    ghost = state(piece(endpoint("10.10.1.70")), piece(endpoint("10.10.1.70", DRAINING)))

    assert ghost.undefined_endpoints == ()
    assert [at(alternative) for alternative in ghost.alternatives("n")] == [["10.10.1.70:80"]]


def test_the_same_entry_in_two_slices_is_one() -> None:
    twins = state(piece(endpoint("10.10.1.70")), piece(endpoint("10.10.1.70")))

    assert (twins.ports[0].twins, at(twins), twins.ports[0].entry_count) == ((), ["10.10.1.70:80"], 1)


def test_one_order_of_the_slices_decides_all_endpoints_and_ports() -> None:
    addresses = ("10.10.1.70", "10.10.1.71")
    twins = state(
        piece(*(endpoint(address) for address in addresses)),
        piece(*(endpoint(address, NOT_READY) for address in addresses)),
    )

    assert sorted(map(at, twins.alternatives("n"))) == [[], ["10.10.1.70:80", "10.10.1.71:80"]]


def test_of_many_slices_that_disagree_only_some_orders_are_tried() -> None:
    slices = [
        piece(*(endpoint(f"10.10.1.{70 + n}", READY if n == number else NOT_READY) for n in range(6)))
        for number in range(6)
    ]
    twins = state(*slices)

    assert twins.has_untried_orders
    assert 1 < len(list(twins.alternatives("n"))) <= 120


# Hints.


def test_hints_choose_among_ready_endpoints_only() -> None:
    def hinted(address: str, zone: str, conditions: dict[str, bool]) -> dict[str, Any]:
        return endpoint(address, conditions, hints={"forZones": [{"name": zone}]})

    draining, ready = (
        state(piece(hinted("10.10.1.70", "za", conditions), hinted("10.10.1.71", "zb", conditions)))
        for conditions in (DRAINING, READY)
    )

    assert len(usable_endpoints(draining, draining.ports[0], "n", "za").cluster) == 2
    assert len(usable_endpoints(ready, ready.ports[0], "n", "za").cluster) == 1


# What kube-proxy does not watch.


def test_slices_labelled_headless_are_not_watched() -> None:
    labelled = piece(endpoint("10.10.1.70"), **{HEADLESS_LABEL: ""})

    assert at(state(labelled)) == []
    assert at(state(labelled, clusterIP="None")) == ["10.10.1.70:80"]


@pytest.mark.parametrize(("release", "watched"), [((1, 35), []), ((1, 36), ["10.10.1.70:80"])])
def test_from_1_36_slices_labelled_for_another_proxy_are_watched(release: tuple[int, int], watched: list[str]) -> None:
    labelled = piece(endpoint("10.10.1.70"), **{PROXY_NAME_LABEL: "other"})

    assert at(state(labelled, release=release)) == watched


def test_slices_of_no_service_are_ignored() -> None:
    assert at(state({**piece(endpoint("10.10.1.70")), "metadata": {"namespace": "default", "labels": {}}})) == []


def test_a_service_of_another_proxy_has_no_cluster_ip() -> None:
    assert state(labels={PROXY_NAME_LABEL: "other"}).cluster_ips == ()
    assert state(labels={HEADLESS_LABEL: ""}).cluster_ips == ("10.200.1.7",)
    assert state(labels={HEADLESS_LABEL: ""}, release=(1, 35)).cluster_ips == ()
    assert state(type="ExternalName").cluster_ips == ()


# Addresses and ports.


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("010.000.1.7", "10.0.1.7"),
        ("FD00:0:0::0007", "fd00::7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ],
)
def test_addresses_are_written_as_go_writes_them(address: str, canonical: str) -> None:
    assert canonical_address(address) == canonical


def test_endpoints_have_their_canonical_addresses() -> None:
    assert at(state(piece(endpoint("010.10.001.70")))) == ["10.10.1.70:80"]


def test_a_range_without_a_length_is_none() -> None:
    with pytest.raises(ValueError, match="not a range"):
        canonical_range("192.0.2.0")


def test_only_load_balancer_addresses_of_mode_vip_are_the_nodes_own() -> None:
    ingress = [
        {"ip": "198.51.100.9"},
        {"ip": "198.51.100.10", "ipMode": "Proxy"},
        {"ip": "198.51.100.11", "ipMode": "VIP"},
    ]

    assert state(type="LoadBalancer", ingress=ingress).balancer_ips == ("198.51.100.9", "198.51.100.11")


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, 31000),
        ({"type": "LoadBalancer"}, 0),
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, 0),
    ],
)
def test_health_checks_are_those_of_a_load_balancer_with_policy_local(spec: dict[str, str], port: int) -> None:
    assert state(healthCheckNodePort=31000, **spec).health_check_node_port == port
