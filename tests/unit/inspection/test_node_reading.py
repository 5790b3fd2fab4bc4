"""A node's rules and entries for a Service, from snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.dataplane.nftables.table import Element, NftSet, Table
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY, ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.inspection.node_reading import reading_of
from session_affinity.inspection.observation import RulesState
from tests import rendered_nodes
from tests.unit.inspection.conftest import objects, service

if TYPE_CHECKING:
    from session_affinity.inspection.objects import InspectedObjects

pytestmark = pytest.mark.unit

HZ, NOW = 250, 4295540812
PROXY = ProxyConfig("iptables", "10.10.0.0/16")


def programmed(made: InspectedObjects, without: str = "-", entries: dict[str, int] | None = None) -> NodeSnapshot:
    """Return a node with the expected rules but those with a text; entries by client, as seconds ago, in one list."""
    state = made.states["IPv4"]
    lines = rendered_nodes.iptables_text([state], PROXY).splitlines()
    text = "\n".join(line for line in lines if without == "-" or without not in line)
    lists = {name: RecentList(name) for name in IPTABLES.affinity_stores(state)}
    first = next(iter(lists), "")
    lists[first] = RecentList(
        first,
        tuple(Entry(client, 64, NOW - ago * HZ, 1, (NOW - ago * HZ,)) for client, ago in (entries or {}).items()),
    )
    return NodeSnapshot("worker1", iptables_save.parse(text), lists=lists, jiffies=NOW, uptime=1.0)


def test_expected_rules_and_entries_with_their_times() -> None:
    made = objects()
    snapshot = programmed(made, entries={"10.10.9.9": 5, "10.10.9.8": 20000})

    reading = reading_of("worker1", {"IPv4": snapshot}, made, PROXY, hz=HZ, list_capacity=7)

    assert reading.rules is RulesState.EXPECTED
    live, expired = reading.bindings
    assert (live.client, live.age, live.seconds_left, live.connections, live.is_live) == (
        "10.10.9.9",
        5,
        10795,
        1,
        True,
    )
    assert (live.port, live.endpoint.pod) == ("web", "cart-1")
    assert (expired.seconds_left, expired.is_live) == (-9200, False)
    store, *others = reading.stores
    assert (store.live, store.listed, store.capacity, store.kind) == (1, 2, 7, "list")
    assert len(others) == 2


def test_entries_without_a_clock_have_no_times() -> None:
    made = objects()

    (entry,) = reading_of("worker1", {"IPv4": programmed(made, entries={"10.10.9.9": 5})}, made, PROXY).bindings

    assert (entry.age, entry.seconds_left, entry.is_live) == (None, None, True)


def test_a_missing_rule_is_a_difference() -> None:
    made = objects()

    reading = reading_of("worker1", {"IPv4": programmed(made, without="--rcheck")}, made, PROXY, hz=HZ)

    assert reading.rules is RulesState.DIFFER
    assert len(reading.differences) == 3


@pytest.mark.parametrize(
    ("made", "proxy", "reason"),
    [
        (objects(slices=None), PROXY, "the EndpointSlices could not be read"),
        (
            objects(service({"labels": {"service.kubernetes.io/service-proxy-name": "lb"}})),
            PROXY,
            "kube-proxy leaves this Service to lb",
        ),
        (objects(), ProxyConfig("ipvs", None), "kube-proxy runs in ipvs mode"),
        (objects(), ProxyConfig(NO_KUBE_PROXY, None, source="x"), "no kube-proxy"),
    ],
)
def test_rules_that_cannot_be_compared_say_why(made: InspectedObjects, proxy: ProxyConfig, reason: str) -> None:
    reading = reading_of("worker1", {"IPv4": NodeSnapshot("worker1")}, made, proxy)

    assert reading.rules is RulesState.NOT_COMPARED
    assert reason in reading.not_compared
    assert reading.differences == ()


@pytest.mark.parametrize("release", [(1, 33), (1, 37)])
def test_rules_are_compared_with_what_follows_for_the_release_of_kube_proxy(release: tuple[int, int]) -> None:
    """Until 1.33 kube-proxy makes a firewall chain for a source range of all addresses."""
    made = objects(service(type="LoadBalancer", loadBalancerSourceRanges=["0.0.0.0/0"]))
    made.service["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}  # type: ignore[index]
    state = made.states_of(release)["IPv4"]
    snapshot = NodeSnapshot("worker1", iptables_save.parse(rendered_nodes.iptables_text([state], PROXY)))

    compared = {
        other: reading_of("worker1", {"IPv4": snapshot}, made, replace(PROXY, release=other)).rules
        for other in ((1, 33), (1, 37))
    }

    assert state.source_ranges == (("0.0.0.0/0",) if release == (1, 33) else ())
    assert [other for other, rules in compared.items() if rules is RulesState.EXPECTED] == [release]


def test_elements_of_sets_have_their_own_timeout() -> None:
    """An element from before a change of the timeout has its own; the others have that of the set."""
    made = objects()
    name = next(iter(NFTABLES.affinity_stores(made.states["IPv4"])))
    elements = {
        ("10.10.9.9",): Element(("10.10.9.9",), None, 10000.0),
        ("10.10.9.8",): Element(("10.10.9.8",), 20000.0, 19000.0),
    }
    table = Table({name: NftSet(name, ("ipv4_addr",), 10800, elements, 65535)})

    reading = reading_of(
        "worker1", {"IPv4": NodeSnapshot("worker1", nftables=table)}, made, ProxyConfig("nftables", "10.10.0.0/16")
    )

    assert [(entry.client, entry.age, entry.seconds_left, entry.connections) for entry in reading.bindings] == [
        ("10.10.9.9", 800.0, 10000.0, None),
        ("10.10.9.8", 1000.0, 19000.0, None),
    ]
    assert [(store.capacity, store.kind, store.live) for store in reading.stores] == [(65535, "set", 2)]
