"""Whose address a client has."""

from __future__ import annotations

import pytest

from session_affinity.inspection.identities import identify
from session_affinity.inspection.observation import ClientKind
from tests.unit.inspection.conftest import node, pod

pytestmark = pytest.mark.unit

NODES = (node("worker1", 1), node("worker2", 2))
ADDRESSES = ("172.30.0.2", "10.10.1.9", "10.10.2.1", "192.0.2.1")


def test_nodes_pods_ranges_and_the_outside() -> None:
    found = identify(ADDRESSES, NODES, [pod("client", address="10.10.1.9")], sees_all_pods=True)

    assert {address: (client.kind, client.name) for address, client in found.items()} == {
        "172.30.0.2": (ClientKind.NODE, "worker2"),
        "10.10.1.9": (ClientKind.POD, "shop/client"),
        "10.10.2.1": (ClientKind.POD_RANGE, "worker2"),
        "192.0.2.1": (ClientKind.OUTSIDE, ""),
    }


def test_a_pod_range_may_have_bits_of_hosts() -> None:
    """Before 1.36 the API takes such ranges, and keeps them."""
    third = node("worker3", 3)
    third["spec"] = {"podCIDRs": ["10.10.3.1/24", "none"]}

    assert identify(["10.10.3.7"], [third], [], sees_all_pods=True)["10.10.3.7"].name == "worker3"


def test_a_pod_on_the_hosts_network_is_not_told_from_its_node() -> None:
    host = pod("agent", address="172.30.0.2", hostNetwork=True)

    assert identify(["172.30.0.2"], NODES, [host], sees_all_pods=True)["172.30.0.2"].kind is ClientKind.NODE


def test_the_address_of_a_pod_that_ended_is_not_its_own_any_more() -> None:
    ended = pod("job", address="10.10.1.9")
    ended["status"]["phase"] = "Succeeded"

    assert identify(["10.10.1.9"], NODES, [ended], sees_all_pods=True)["10.10.1.9"].kind is ClientKind.POD_RANGE


def test_nothing_is_called_outside_where_not_all_was_seen() -> None:
    without_nodes = identify(["192.0.2.1"], None, [], sees_all_pods=True)
    without_pods = identify(["192.0.2.1"], NODES, [], sees_all_pods=False)

    assert without_nodes["192.0.2.1"].kind is without_pods["192.0.2.1"].kind is ClientKind.UNKNOWN
