"""Names, addresses and pod ranges of the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affinity.clusters.embedded.layout import Layout, node_layouts
from affinity.clusters.embedded.prepare import Request, resolve
from affinity.clusters.embedded.state import StateDirectory
from affinity.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_nodes_are_named_and_numbered_as_in_the_walk() -> None:
    found = [(node.name, node.pod_cidr, node.control_plane) for node in node_layouts("myk8s")]

    assert found == [
        ("myk8s-control-plane", "10.10.0.0/24", True),
        ("myk8s-worker", "10.10.1.0/24", False),
        ("myk8s-worker2", "10.10.2.0/24", False),
        ("myk8s-worker3", "10.10.3.0/24", False),
    ]


def test_addresses_and_pod_ranges_are_all_different() -> None:
    nodes = node_layouts("big", workers=40)

    assert len({node.address for node in nodes}) == len({node.pod_cidr for node in nodes}) == 41


def test_a_layout_survives_its_file(tmp_path: Path) -> None:
    layout = Layout("c", "1.37.2", "iptables", {"etcd": "/x/etcd"}, "/x/images.tar", node_layouts("c"))

    layout.write(tmp_path / "layout.json")

    assert Layout.read(tmp_path / "layout.json") == layout


@pytest.mark.parametrize("name", ["", "UPPER", "-x", "x-", "a b", "a/b", "x" * 41, "..", "a\n"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a cluster"):
        StateDirectory(name)


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"1\.33.*1\.37"):
        resolve(Request(kubernetes="1.12"))


def test_an_unknown_proxy_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="iptables, nftables"):
        resolve(Request(proxy_mode="ipvs"))


def test_a_kube_proxy_that_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kube-proxy").write_text("text")

    with pytest.raises(UsageError, match="not a file that can be executed"):
        resolve(Request(kube_proxy=tmp_path / "kube-proxy"))


@pytest.mark.parametrize("workers", [0, -1, 101])
def test_a_number_of_workers_out_of_range_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        resolve(Request(workers=workers))
