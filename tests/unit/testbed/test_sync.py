"""Waiting for nodes to hold what Services call for, with nodes that follow after some reads."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane.iptables import compare as iptables_compare
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.dataplane.iptables.backend import RulesByService
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables import table as nftables_table
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.testbed import testbed
from session_affinity.testbed.testbed import Testbed
from session_affinity.traffic.answers import Answer, Answers, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

PROXY = ProxyConfig("iptables", "10.10.0.0/16")
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}") for number in (1, 2, 3))
ONE = ServiceState(
    "default", "affinity-one", ("10.200.1.5",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000, ENDPOINTS),)
)
OTHER = replace(ONE, name="affinity-other", cluster_ips=("10.200.1.6",))


def ruleset(*services: ServiceState) -> iptables_save.Ruleset:
    rules = [str(rule) for service in services for rule in iptables_expected.expected(service, PROXY).rules]
    chains = dict.fromkeys(rule.split()[1] for rule in rules)
    return iptables_save.parse("\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""]))


class FollowingNodes:
    """Nodes that hold the Services from their n-th read on."""

    def __init__(self, **follow_after: int) -> None:
        self.left = dict(follow_after)
        self.reads: list[list[str]] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.left)

    def read(self, names: Iterable[str]) -> dict[str, NodeSnapshot]:
        self.reads.append(list(names))
        states = {}
        for name in self.reads[-1]:
            self.left[name] -= 1
            states[name] = NodeSnapshot(name, ruleset(ONE, OTHER) if self.left[name] <= 0 else ruleset(OTHER))
        return states


class WrongNodes(FollowingNodes):
    """Nodes that know every Service, with a timeout of their own."""

    def read(self, names: Iterable[str]) -> dict[str, NodeSnapshot]:
        known = ruleset(replace(ONE, timeout_seconds=31), Witnessed(0).create(None))
        return {name: NodeSnapshot(name, known) for name in names}


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testbed, "POLL_SECONDS", 0.001)


IMPATIENT = Deadlines(sync=0.04, sentinel_after=0.01)
"""For nodes that never follow."""


def waiting(
    nodes: Any, proxy: ProxyConfig = PROXY, client: Any = None, services: Any = None, deadlines: Deadlines = DEFAULTS
) -> Testbed:
    return Testbed(nodes, proxy, client, services, deadlines)


def test_each_node_is_read_until_it_follows() -> None:
    nodes = FollowingNodes(a=1, b=3)

    sync = waiting(nodes).wait_for_sync(ONE, OTHER, since=time.monotonic())

    assert nodes.reads == [["a", "b"], ["b"], ["b"]]
    assert sync.require() is sync
    assert sync.seconds["a"] <= sync.seconds["b"]
    assert sync.latency().startswith("b ")


def test_a_node_that_does_not_follow_is_named_with_what_it_lacks() -> None:
    nodes, witnessed = FollowingNodes(a=1, b=10**6), Witnessed(0)

    sync = waiting(nodes, services=witnessed, deadlines=IMPATIENT).wait_for_sync(ONE, OTHER, since=time.monotonic())

    assert witnessed.deleted == ["affinity-witness"]
    assert set(sync.seconds) == {"a"}
    assert sync.late == {"b": (ONE,)}
    with pytest.raises(
        NotReadyError, match=r"(?s)^b: not programmed .* after the change:\n  b KUBE-SERVICES: no entry"
    ):
        sync.require()


def test_other_nodes_need_not_follow_when_one_is_required() -> None:
    nodes = FollowingNodes(a=1, b=10**6)

    sync = waiting(nodes, services=Witnessed(0), deadlines=IMPATIENT).wait_for_sync(ONE, since=time.monotonic())

    assert sync.require("a") is sync


def test_only_the_nodes_named_are_waited_for() -> None:
    nodes = FollowingNodes(a=1, b=10**6)

    sync = waiting(nodes).wait_for_sync(ONE, since=time.monotonic(), nodes=("a",))

    assert sync.require() is sync
    assert nodes.reads == [["a"]]


def test_a_node_that_knows_a_later_service_is_not_waited_for_but_keeps_its_differences() -> None:
    """It got the change and made something else of it: claims judge that, and nothing is gained by waiting."""
    deadlines = Deadlines(sentinel_after=0.01)
    began = time.monotonic()

    sync = waiting(WrongNodes(a=1), services=Witnessed(0), deadlines=deadlines).wait_for_sync(ONE, since=began)

    assert time.monotonic() - began < 5
    assert sync.synced_but_wrong == {"a"}
    assert sync.require() is sync
    assert "--seconds 31, expected 30" in str(sync.differences["a"][0])


def test_rules_sorted_by_service_are_those_that_are_compared() -> None:
    sorted_rules = RulesByService(ruleset(ONE, OTHER))

    for service in (ONE, OTHER):
        assert not iptables_compare.compare("a", service, PROXY, sorted_rules.of(service))
        assert iptables_compare.compare("a", replace(service, timeout_seconds=31), PROXY, sorted_rules.of(service))
    assert len(sorted_rules.of(ONE).rules("KUBE-SERVICES")) == 1


def test_rules_of_a_service_without_any_differ() -> None:
    assert iptables_compare.compare("a", ONE, PROXY, RulesByService(ruleset(OTHER)).of(ONE))


class Witnessed:
    """Services and a client whose witness answers from its n-th request on."""

    pod, node = "net-pod", "a"

    def __init__(self, answers_after: int) -> None:
        self.left = answers_after
        self.asked: list[Target] = []
        self.deleted: list[str] = []

    def create(self, _: object) -> ServiceState:
        return replace(ONE, name="affinity-witness", cluster_ips=("10.200.1.9",))

    def delete(self, service: ServiceState) -> None:
        self.deleted.append(service.name)

    @property
    def impatient(self) -> Witnessed:
        return self

    def request(self, target: Target) -> Answers:
        self.asked.append(target)
        self.left -= 1
        error = "" if self.left <= 0 else "curl 7: refused"
        return Answers((Answer(target, "webpod1" if not error else None, 200, 1, 1, 0.001, error),))


IPVS = ProxyConfig("ipvs", None)


@pytest.mark.parametrize(("proxy", "witnesses"), [(PROXY, 1), (IPVS, 2)])
def test_where_rules_cannot_be_read_a_witness_answers_for_the_change(proxy: ProxyConfig, witnesses: int) -> None:
    """Where the order in which changes are applied is not known, a second witness is made when the first answers."""
    witnessed = Witnessed(3)

    sync = waiting(FollowingNodes(), proxy, witnessed, witnessed).wait_for_sync(ONE, since=time.monotonic())

    assert (sync.states, sync.differences) == ({}, {})
    assert witnessed.deleted == ["affinity-witness"] * witnesses


def test_the_services_themselves_are_not_asked() -> None:
    witnessed = Witnessed(1)

    waiting(FollowingNodes(), PROXY, witnessed, witnessed).wait_for_sync(ONE, since=time.monotonic())

    assert witnessed.asked == [Target("10.200.1.9", 9000)]


def test_a_witness_that_never_answers_is_told_and_removed() -> None:
    witnessed = Witnessed(10**6)

    with pytest.raises(NotReadyError, match="waiting for an answer on a from a Service made after the change"):
        waiting(FollowingNodes(a=1), IPVS, witnessed, witnessed, IMPATIENT).wait_for_sync(ONE, since=time.monotonic())
    assert witnessed.deleted == ["affinity-witness"]


# nftables: names tell what is whose, and rules are read there as well.


class FollowingTables(FollowingNodes):
    """Nodes in nftables mode that hold the Service from their n-th read on."""

    def read(self, names: Iterable[str]) -> dict[str, NodeSnapshot]:
        self.reads.append(list(names))
        states = {}
        for name in self.reads[-1]:
            self.left[name] -= 1
            states[name] = NodeSnapshot(name, nftables=DUMP if self.left[name] <= 0 else None)
        return states


DUMP = nftables_table.parse(json.loads((Path(__file__).parents[1] / "dataplane/dumps/nftables-1.37.json").read_text()))
DUMPED = replace(ONE, name="sticky", cluster_ips=("10.200.1.17",), timeout_seconds=10800)


def test_in_nftables_mode_each_node_is_read_until_it_follows() -> None:
    nodes = FollowingTables(a=1, b=2)

    sync = waiting(nodes, replace(PROXY, mode="nftables")).wait_for_sync(DUMPED, since=time.monotonic())

    assert nodes.reads == [["a", "b"], ["b"]]
    assert sync.require() is sync


def test_in_nftables_mode_a_node_that_does_not_follow_is_named_with_what_it_lacks() -> None:
    services = Witnessed(0)

    nodes, proxy = FollowingTables(a=10**6), replace(PROXY, mode="nftables")

    sync = waiting(nodes, proxy, None, services, IMPATIENT).wait_for_sync(DUMPED, since=time.monotonic())

    with pytest.raises(NotReadyError, match=r"a cluster-ips: no element 10\.200\.1\.17"):
        sync.require()
