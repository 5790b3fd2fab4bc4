"""The seam: what every dataplane answers, and iptables' answers that are made of rules and lists together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane import backends
from session_affinity.dataplane.backend import of_client
from session_affinity.dataplane.backends import BACKENDS, IPTABLES, NFTABLES
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ProxyConfig, ServicePort, ServiceState
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.errors import ClusterError

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
    """Return a node with the Service's rules and lists, and in the list of each pod named a client so old."""
    rules = [str(rule) for rule in iptables_expected.expected(SERVICE, PROXY).rules]
    chains = dict.fromkeys(rule.split()[1] for rule in rules)
    text = "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])
    lists = {}
    for name, endpoint in IPTABLES.affinity_stores(SERVICE).items():
        stamps = [NOW - ages[endpoint.pod] * HZ] if endpoint.pod in ages else []
        lists[name] = RecentList(name, tuple(Entry(CLIENT, 64, stamp, 1, (stamp,)) for stamp in stamps))
    return NodeSnapshot("a", iptables_save.parse(text), lists, jiffies=NOW)


def test_dataplanes_are_found_by_the_mode_of_kube_proxy() -> None:
    assert (backends.of_mode("iptables"), backends.of_mode("nftables")) == (IPTABLES, NFTABLES)
    with pytest.raises(ClusterError, match="what nodes hold in ipvs mode is not known"):
        backends.of_mode("ipvs")


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=list(BACKENDS))
def test_a_node_that_holds_nothing_differs_and_knows_nobody(backend: Backend) -> None:
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
def test_each_endpoint_has_a_memory_whose_name_is_expected(backend: Backend) -> None:
    assert tuple(backend.affinity_stores(SERVICE).values()) == ENDPOINTS
    assert set(backend.affinity_stores(SERVICE)) <= set(backend.expected(SERVICE, PROXY).names)


def test_a_listed_client_is_bound_until_its_time_is_over() -> None:
    live, expired = IPTABLES.affinity_entries(node(webpod1=10, webpod2=40), SERVICE, HZ)

    assert (live.seconds_left, live.is_live, live.store) == (20, True, FIRST)
    assert (expired.seconds_left, expired.is_live, expired.endpoint.pod) == (-10, False, "webpod2")
    assert str(live) == f"{CLIENT} in {FIRST} (webpod1), 20.00 s left, 1 stamps"


def test_without_the_tick_rate_what_is_left_is_not_known() -> None:
    (remembered,) = IPTABLES.affinity_entries(node(webpod1=10), SERVICE)

    assert (remembered.seconds_left, remembered.is_live) == (None, True)


def test_clients_are_told_apart() -> None:
    remembered = IPTABLES.affinity_entries(node(webpod1=10), SERVICE, HZ)

    assert of_client(remembered, CLIENT) == remembered
    assert of_client(remembered, "10.10.0.7") == ()


def test_what_belongs_to_a_service_are_its_rules_chains_and_lists() -> None:
    objects_of = IPTABLES.objects_of(node(), SERVICE)
    one_went = replace(SERVICE, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[:1]),))

    assert [line.split()[0] for line in objects_of] == ["-A", "chain", "chain", "chain", "list", "list"]
    assert {f"chain {SECOND}", f"list {SECOND}"} <= set(IPTABLES.objects_of(node(), one_went))


def test_pinning_writes_to_every_list_in_one_command() -> None:
    shell, option, _, name, *words = IPTABLES.pinning(SERVICE, CLIENT, SECOND)

    assert (shell, option, name) == ("sh", "-c", "write")
    assert words == [FIRST, f"-{CLIENT}", SECOND, f"-{CLIENT}", SECOND, f"+{CLIENT}"]
