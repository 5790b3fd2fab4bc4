"""The Backend protocol in both modes, and the methods of iptables mode that combine rules and recent lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane import backends
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.backends import BACKENDS, IPTABLES, NFTABLES
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.errors import ClusterError
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.dataplane.backend import Backend

CLIENT, HZ, NOW = "10.10.0.6", 250, 4295540812
PROXY = ProxyConfig("iptables", "10.10.0.0/16")
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}") for number in (1, 2))
SERVICE = ServiceState(
    "default", "sticky", ("10.200.1.5",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000, ENDPOINTS),)
)
FIRST, SECOND = IPTABLES.affinity_stores(SERVICE)


def node(**ages: int) -> NodeSnapshot:
    """Return a node with the Service's rules and lists, and the client's entries: their ages in seconds by pod."""
    lists = {}
    for name, endpoint in IPTABLES.affinity_stores(SERVICE).items():
        stamps = [NOW - ages[endpoint.pod] * HZ] if endpoint.pod in ages else []
        lists[name] = RecentList(name, tuple(Entry(CLIENT, 64, stamp, 1, (stamp,)) for stamp in stamps))
    return NodeSnapshot("a", rendered_nodes.iptables_node([SERVICE], PROXY).ruleset, lists, jiffies=NOW)


def test_backends_by_proxy_mode() -> None:
    assert (backends.of_mode("iptables"), backends.of_mode("nftables")) == (IPTABLES, NFTABLES)
    with pytest.raises(ClusterError, match="cannot read the rules of kube-proxy in ipvs mode"):
        backends.of_mode("ipvs")


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=list(BACKENDS))
def test_an_empty_node_differs_and_has_no_objects(backend: Backend) -> None:
    empty = NodeSnapshot("a")

    assert backend.compare(empty, SERVICE, PROXY)
    assert backend.compare_many(empty, [SERVICE], PROXY)[SERVICE]
    assert not backend.has_service(empty, SERVICE)
    assert not backend.affinity_timeouts(empty, SERVICE)
    assert (
        backend.objects_of(empty, SERVICE)
        == backend.normalised(empty, SERVICE)
        == backend.existing_stores(empty, SERVICE)
        == ()
    )
    assert backend.affinity_entries(empty, SERVICE) == ()


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=list(BACKENDS))
def test_each_endpoint_has_an_affinity_store_with_the_expected_name(backend: Backend) -> None:
    assert tuple(backend.affinity_stores(SERVICE).values()) == ENDPOINTS
    assert set(backend.affinity_stores(SERVICE)) <= set(backend.expected(SERVICE, PROXY).names)


def test_a_listed_client_is_bound_until_the_timeout() -> None:
    live, expired = IPTABLES.affinity_entries(node(webpod1=10, webpod2=40), SERVICE, HZ)

    assert (live.seconds_left, live.is_live, live.store) == (20, True, FIRST)
    assert (expired.seconds_left, expired.is_live, expired.endpoint.pod) == (-10, False, "webpod2")
    assert str(live) == f"{CLIENT} in {FIRST} (webpod1), 20.00 s left, 1 stamps"


def test_without_the_tick_rate_the_time_left_is_unknown() -> None:
    (entry,) = IPTABLES.affinity_entries(node(webpod1=10), SERVICE)

    assert (entry.seconds_left, entry.is_live) == (None, True)


def test_of_client_selects_the_entries_of_one_client() -> None:
    entries = IPTABLES.affinity_entries(node(webpod1=10), SERVICE, HZ)

    assert of_client(entries, CLIENT) == entries
    assert of_client(entries, "10.10.0.7") == ()


def test_the_objects_of_a_service_are_its_entry_rules_chains_and_lists() -> None:
    objects = IPTABLES.objects_of(node(), SERVICE)
    without_second = replace(SERVICE, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[:1]),))

    assert [line.split()[0] for line in objects] == ["-A", "chain", "chain", "chain", "list", "list"]
    assert {f"chain {SECOND}", f"list {SECOND}"} <= set(IPTABLES.objects_of(node(), without_second))


def test_pinning_writes_to_every_list_in_one_command() -> None:
    shell, option, _, name, *words = IPTABLES.pin_argv(SERVICE, CLIENT, SECOND)

    assert (shell, option, name) == ("sh", "-c", "write")
    assert words == [FIRST, f"-{CLIENT}", SECOND, f"-{CLIENT}", SECOND, f"+{CLIENT}"]
