"""The address ranges of the clusters that the suite creates."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import pytest

from session_affinity.clusters.addresses import IP_FAMILIES, RANGES, families_of, ranges_of
from session_affinity.clusters.embedded.prepare import MAX_WORKERS
from session_affinity.dataplane.model import FAMILIES
from session_affinity.errors import UsageError


def test_no_range_overlaps_another() -> None:
    networks = [
        ipaddress.ip_network(cidr)
        for ranges in RANGES.values()
        for cidr in (ranges.pods, ranges.services, ranges.nodes)
    ]

    assert not [
        pair for pair in combinations(networks, 2) if pair[0].version == pair[1].version and pair[0].overlaps(pair[1])
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_ranges_are_in_canonical_form_and_have_room_for_every_node(family: str) -> None:
    ranges = RANGES["IPv4" if family == "IPv4" else "IPv6"]
    cidrs = (ranges.pods, ranges.services, ranges.nodes, ranges.pods_of_node(MAX_WORKERS))

    assert [str(ipaddress.ip_network(cidr)) for cidr in cidrs] == list(cidrs)
    assert ipaddress.ip_network(ranges.pods_of_node(MAX_WORKERS)).subnet_of(ipaddress.ip_network(ranges.pods))
    assert ipaddress.ip_address(ranges.node_address(MAX_WORKERS)) in ipaddress.ip_network(ranges.nodes)


def test_ipv6_ranges_are_unique_local_addresses_of_one_site() -> None:
    networks = [ipaddress.IPv6Network(cidr) for cidr in (RANGES["IPv6"].pods, RANGES["IPv6"].services)]
    networks.append(ipaddress.IPv6Network(RANGES["IPv6"].nodes))

    assert all(network.subnet_of(ipaddress.IPv6Network("fd00::/8")) for network in networks)
    assert len({network.supernet(new_prefix=48) for network in networks}) == 1


def test_the_api_server_accepts_the_size_of_the_ipv6_service_range() -> None:
    """It accepts at most 20 host bits (Kubernetes: pkg/controlplane/instance.go and the validation of its options)."""
    network = ipaddress.ip_network(RANGES["IPv6"].services)

    assert network.max_prefixlen - network.prefixlen <= 20


def test_the_primary_family_comes_first() -> None:
    assert [families_of(ip_family) for ip_family in IP_FAMILIES] == [("IPv4",), ("IPv6",), ("IPv4", "IPv6")]
    assert ranges_of("dual") == (RANGES["IPv4"], RANGES["IPv6"])


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UsageError, match="ipv4, ipv6, dual"):
        families_of("ipv5")
