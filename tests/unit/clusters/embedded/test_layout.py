"""Names, addresses and pod ranges of the nodes."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.addresses import IP_FAMILIES, ranges_of
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.prepare import MAX_WORKERS, ClusterRequest, resolve
from session_affinity.clusters.embedded.state import StateDirectory
from session_affinity.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_nodes_have_the_names_of_kind_and_numbered_pod_cidrs() -> None:
    nodes = [(node.name, node.pod_cidrs, node.control_plane) for node in node_layouts("myk8s")]

    assert nodes == [
        ("myk8s-control-plane", ("10.10.0.0/24",), True),
        ("myk8s-worker", ("10.10.1.0/24",), False),
        ("myk8s-worker2", ("10.10.2.0/24",), False),
        ("myk8s-worker3", ("10.10.3.0/24",), False),
    ]


@pytest.mark.parametrize("ip_family", IP_FAMILIES)
def test_addresses_and_pod_cidrs_are_distinct_and_inside_the_ranges_of_the_cluster(ip_family: str) -> None:
    ranges = ranges_of(ip_family)
    nodes = node_layouts("big", MAX_WORKERS, ip_family)

    for index, family_ranges in enumerate(ranges):
        addresses = [ipaddress.ip_address(node.addresses[index]) for node in nodes]
        pods = [ipaddress.ip_network(node.pod_cidrs[index]) for node in nodes]
        assert len(set(addresses)) == len(set(pods)) == MAX_WORKERS + 1
        assert all(address in ipaddress.ip_network(family_ranges.nodes) for address in addresses)
        assert all(cidr.subnet_of(ipaddress.ip_network(family_ranges.pods)) for cidr in pods)
    assert {len(node.addresses) for node in nodes} == {len(ranges)}


@pytest.mark.parametrize("ip_family", IP_FAMILIES)
def test_a_layout_is_read_as_it_was_written(ip_family: str, tmp_path: Path) -> None:
    nodes = node_layouts("c", ip_family=ip_family)
    layout = Layout("c", "1.37.2", "iptables", {"etcd": "/x/etcd"}, "/x/images.tar", nodes, ip_family=ip_family)

    layout.write(tmp_path / "layout.json")

    assert Layout.read(tmp_path / "layout.json") == layout


def test_a_kube_proxy_is_the_users_where_it_is_not_beside_the_kubelet() -> None:
    programs = {"kubelet": "/cache/1.37.2/kubelet", "kube-proxy": "/cache/1.37.2/kube-proxy"}
    layout = Layout("c", "1.37.2", "iptables", programs, "/x/images.tar", node_layouts("c"))

    assert not layout.has_own_kube_proxy
    assert replace(layout, programs={**programs, "kube-proxy": "/src/_output/kube-proxy"}).has_own_kube_proxy
    assert not replace(layout, programs={"kubelet": "/cache/1.37.2/kubelet"}).has_own_kube_proxy


def test_a_layout_of_another_version_is_refused_with_the_next_step(tmp_path: Path) -> None:
    file = tmp_path / "old" / "layout.json"
    file.parent.mkdir()
    file.write_text('{"name": "c", "nodes": [{"name": "n", "address": "172.30.0.2"}]}')

    with pytest.raises(ClusterError, match=r"not written by this version.*\n  next: take it down: .* down --name old$"):
        Layout.read(file)


@pytest.mark.parametrize("name", ["", "UPPER", "-x", "x-", "a b", "a/b", "x" * 41, "..", "a\n"])
def test_an_invalid_cluster_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a cluster"):
        StateDirectory(name)


def test_an_unknown_version_is_refused_with_the_list_of_versions() -> None:
    with pytest.raises(UsageError, match=r"1\.33.*1\.37"):
        resolve(ClusterRequest(kubernetes="1.12"))


def test_an_unknown_proxy_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="iptables, nftables"):
        resolve(ClusterRequest(proxy_mode="ipvs"))


def test_an_unknown_ip_family_is_refused() -> None:
    with pytest.raises(UsageError, match="'ipx'\n  next: use one of ipv4, ipv6, dual"):
        resolve(ClusterRequest(ip_family="ipx"))


def test_a_kube_proxy_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kube-proxy").write_text("text")

    with pytest.raises(UsageError, match="is not an executable file"):
        resolve(ClusterRequest(kube_proxy=tmp_path / "kube-proxy"))


@pytest.mark.parametrize("workers", [0, -1, 101])
def test_a_number_of_workers_out_of_range_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        resolve(ClusterRequest(workers=workers))
