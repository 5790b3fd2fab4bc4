"""Waits for a sync, on nodes that have the expected rules after some reads."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables import table as nftables_table
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import NodeError, NotReadyError
from session_affinity.nodes.by_node import ByNode
from session_affinity.testbed import testbed
from session_affinity.testbed.testbed import ENOUGH_READS, Testbed
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.verdicts.rules import judge_sync
from tests import rendered_nodes
from tests.judged_nodes import JudgedNodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.dataplane.iptables import save as iptables_save

PROXY = ProxyConfig("iptables", "10.10.0.0/16", min_sync_period=0.0)
PROXIES = ProxyConfigs(default=PROXY)
ENDPOINTS = tuple(Endpoint(f"10.10.{number}.2", 80, f"webpod{number}") for number in (1, 2, 3))
STICKY = ServiceState(
    "default", "affinity-sticky", ("10.200.1.5",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000, ENDPOINTS),)
)
OTHER = replace(STICKY, name="affinity-other", cluster_ips=("10.200.1.6",))


def ruleset(*services: ServiceState) -> iptables_save.Ruleset:
    return rendered_nodes.iptables_node(services, PROXY).ruleset


class SyncingNodes(JudgedNodes):
    """Nodes that have the Services from their n-th read on."""

    def __init__(self, **synced_after: int) -> None:
        self.left = dict(synced_after)
        self.reads: list[list[str]] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.left)

    missing: ClassVar[dict[str, str]] = {}
    allowed_missing = 0

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        self.reads.append(list(names))
        states = {}
        for name in self.reads[-1]:
            self.left[name] -= 1
            states[name] = NodeSnapshot(name, ruleset(STICKY, OTHER) if self.left[name] <= 0 else ruleset(OTHER))
        return ByNode(states)


class SlowNodes(SyncingNodes):
    """Nodes of which a read takes longer than the deadline of a sync."""

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        threading.Event().wait(2 * IMPATIENT.sync)  # time.sleep is shortened in these tests
        return super().read(names)


class WrongNodes(SyncingNodes):
    """Nodes that have every Service, with a wrong timeout."""

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        wrong = ruleset(replace(STICKY, timeout_seconds=31), SentinelAnswers(0).create(None))
        return ByNode({name: NodeSnapshot(name, wrong) for name in names})


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testbed, "POLL_SECONDS", 0.001)


IMPATIENT = Deadlines(sync=0.04, sentinel_after=0.01)
"""For nodes that never sync."""


def make_testbed(
    nodes: Any,
    configs: ProxyConfigs = PROXIES,
    client: Any = None,
    services: Any = None,
    deadlines: Deadlines = DEFAULTS,
) -> Testbed:
    return Testbed(nodes, configs, client, services, deadlines)


def test_each_node_is_read_until_it_has_synced() -> None:
    nodes = SyncingNodes(a=1, b=3)

    sync = make_testbed(nodes).wait_for_sync(STICKY, OTHER, since=time.monotonic())

    assert nodes.reads == [["a", "b"], ["b"], ["b"]]
    assert sync.require() is sync
    assert sync.seconds["a"] <= sync.seconds["b"]
    assert sync.latency().startswith("b ")


class FollowingNodes(SyncingNodes):
    """A node that follows three changes one after another: of the first Service twice, and of the other between."""

    STATES: ClassVar = (
        ruleset(STICKY),
        ruleset(replace(STICKY, ports=(ServicePort("web", "TCP", 9000, ENDPOINTS[:2]),)), OTHER),
        ruleset(STICKY, OTHER),
    )

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        self.reads.append(list(names))
        return ByNode({name: NodeSnapshot(name, self.STATES[len(self.reads) - 1]) for name in names})


def test_a_node_has_synced_when_all_services_are_right_in_one_read() -> None:
    nodes = FollowingNodes(a=0)

    sync = make_testbed(nodes).wait_for_sync(STICKY, OTHER, since=time.monotonic())

    assert len(nodes.reads) == 3
    assert sync.states["a"].ruleset == FollowingNodes.STATES[-1]


def test_a_node_that_does_not_sync_is_named_with_its_differences() -> None:
    nodes, sentinel = SyncingNodes(a=1, b=10**6), SentinelAnswers(0)

    sync = make_testbed(nodes, services=sentinel, deadlines=IMPATIENT).wait_for_sync(
        STICKY, OTHER, since=time.monotonic()
    )

    assert sentinel.deleted == ["affinity-sentinel"]
    assert set(sync.seconds) == {"a"}
    assert sync.late == {"b": (STICKY,)}
    assert sync.reads == len(nodes.reads)
    with pytest.raises(
        NotReadyError, match=r"(?s)^b: not programmed .* after the change:\n  b KUBE-SERVICES: no entry"
    ):
        sync.require()


def test_a_node_is_late_only_where_the_machine_had_time_for_it() -> None:
    sync = make_testbed(SyncingNodes(a=1, b=10**6), services=SentinelAnswers(0), deadlines=IMPATIENT).wait_for_sync(
        STICKY, since=time.monotonic()
    )

    replace(sync, reads=ENOUGH_READS).require_time()
    replace(sync, reads=ENOUGH_READS - 1).require_time("a")
    with pytest.raises(NotReadyError, match=r"^b: not programmed .* after the change, in 4 reads of the nodes:"):
        replace(sync, reads=ENOUGH_READS - 1).require_time()
    with pytest.raises(NotReadyError, match=r"^b: not programmed"):
        judge_sync(STICKY, replace(sync, reads=ENOUGH_READS - 1))
    assert not judge_sync(STICKY, replace(sync, reads=ENOUGH_READS)).ok


@pytest.mark.parametrize(("synced_after", "reads"), [(4, 4), (10**6, ENOUGH_READS)])
def test_a_wait_goes_on_until_the_nodes_were_read_often_enough(
    monkeypatch: pytest.MonkeyPatch, synced_after: int, reads: int
) -> None:
    monkeypatch.setattr(testbed, "LONGEST_WAIT", 10**6)

    sync = make_testbed(SlowNodes(b=synced_after), services=SentinelAnswers(0), deadlines=IMPATIENT).wait_for_sync(
        STICKY, since=time.monotonic()
    )

    assert sync.reads == reads
    assert bool(sync.late) == (synced_after > reads)


def test_a_wait_on_a_busy_machine_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testbed, "LONGEST_WAIT", 2)

    sync = make_testbed(SlowNodes(b=10**6), services=SentinelAnswers(0), deadlines=IMPATIENT).wait_for_sync(
        STICKY, since=time.monotonic()
    )

    assert sync.reads < ENOUGH_READS
    assert set(sync.late) == {"b"}


def test_other_nodes_need_not_sync_when_one_is_required() -> None:
    sync = make_testbed(SyncingNodes(a=1, b=10**6), services=SentinelAnswers(0), deadlines=IMPATIENT).wait_for_sync(
        STICKY, since=time.monotonic()
    )

    assert sync.require("a") is sync


def test_only_the_nodes_named_are_waited_for() -> None:
    nodes = SyncingNodes(a=1, b=10**6)

    sync = make_testbed(nodes).wait_for_sync(STICKY, since=time.monotonic(), nodes=("a",))

    assert sync.require() is sync
    assert nodes.reads == [["a"]]


def test_a_node_that_has_the_sentinel_is_not_waited_for_but_keeps_its_differences() -> None:
    """It processed the change wrongly: claims judge that, and waiting longer would not change it."""
    deadlines = Deadlines(sentinel_after=0.01)
    began = time.monotonic()

    sync = make_testbed(WrongNodes(a=1), services=SentinelAnswers(0), deadlines=deadlines).wait_for_sync(
        STICKY, since=began
    )

    assert time.monotonic() - began < 5
    assert sync.synced_but_wrong == {"a"}
    assert sync.require() is sync
    assert "--seconds 31, expected 30" in str(sync.differences["a"][0])


def test_nodes_with_other_settings_are_compared_with_their_own_rules() -> None:
    """During a rollout: rules that are right on one node are wrong on another."""
    configs = ProxyConfigs({"a": PROXY, "b": replace(PROXY, cluster_cidr="10.0.0.0/8")})
    bed, states = make_testbed(SyncingNodes(), configs), SyncingNodes(a=1, b=1).read(["a", "b"])

    assert not bed.compare(states["a"], STICKY)
    assert not bed.differences(states["a"], [STICKY, OTHER])
    assert "10.0.0.0/8" in str(bed.compare(states["b"], STICKY)[0])
    assert bed.differences(states["b"], [STICKY, OTHER])
    assert [bed.proxy_of(node).cluster_cidr for node in "ab"] == ["10.10.0.0/16", "10.0.0.0/8"]


def test_a_sync_may_take_as_long_as_kube_proxy_puts_it_off() -> None:
    slow = ProxyConfigs({"a": PROXY, "b": replace(PROXY, min_sync_period=10.0)})

    assert make_testbed(SyncingNodes(), slow).sync_seconds == DEFAULTS.sync + 10.0


class SentinelAnswers:
    """Services and a client whose sentinel answers from its n-th request on."""

    pod, node = "net-pod", "a"

    def __init__(self, answers_after: int) -> None:
        self.left = answers_after
        self.targets: list[Target] = []
        self.deleted: list[str] = []

    def create(self, _: object) -> ServiceState:
        return replace(STICKY, name="affinity-sentinel", cluster_ips=("10.200.1.9",))

    def delete(self, service: ServiceState) -> None:
        self.deleted.append(service.name)

    @property
    def with_short_timeouts(self) -> SentinelAnswers:
        return self

    def request(self, target: Target) -> Answers:
        self.targets.append(target)
        self.left -= 1
        error = "" if self.left <= 0 else "curl 7: refused"
        return Answers((Answer(target, "webpod1" if not error else None, 200, 1, 1, 0.001, error),))


class DeletingNodes(SyncingNodes):
    """Nodes that have a deleted Service until their n-th read, and the sentinel from then on."""

    def read(self, names: Iterable[str] = ()) -> ByNode[NodeSnapshot]:
        self.reads.append(list(names))
        self.left = {name: reads - 1 for name, reads in self.left.items()}
        gone, there = ruleset(SentinelAnswers(0).create(None)), ruleset(STICKY)
        return ByNode({name: NodeSnapshot(name, there if left > 0 else gone) for name, left in self.left.items()})


class KeepingNodes(SyncingNodes):
    """Nodes that have the sentinel, and a Service that was deleted."""

    def read(self, names: Iterable[str] = ()) -> ByNode[NodeSnapshot]:
        self.reads.append(list(names))
        kept = ruleset(STICKY, SentinelAnswers(0).create(None))
        return ByNode({name: NodeSnapshot(name, kept) for name in self.left})


def left_of_sticky(nodes: Any) -> ByNode[tuple[str, ...]]:
    test_bed = make_testbed(nodes, services=SentinelAnswers(0), deadlines=IMPATIENT)
    return test_bed.wait_for_removal(lambda _, state: test_bed.backend.objects_of(state, STICKY))


def test_nodes_are_read_until_nothing_is_left() -> None:
    assert left_of_sticky(DeletingNodes(a=1, b=3)) == {"a": (), "b": ()}


def test_a_node_that_processed_a_deletion_and_kept_rules_has_them_left() -> None:
    assert left_of_sticky(KeepingNodes(a=1))["a"]


def test_a_node_that_never_processes_a_deletion_has_it_left() -> None:
    left = left_of_sticky(DeletingNodes(a=1, b=10**6))

    assert [name for name, objects in left.items() if objects] == ["b"]


IPVS = ProxyConfigs(default=ProxyConfig("ipvs", None, min_sync_period=0.0))


@pytest.mark.parametrize(("configs", "sentinels"), [(PROXIES, 1), (IPVS, 2)])
def test_where_rules_cannot_be_read_the_sentinel_answers_instead(configs: ProxyConfigs, sentinels: int) -> None:
    """Where the order in which changes are applied is not known, a second sentinel follows once the first answers."""
    sentinel = SentinelAnswers(3)

    sync = make_testbed(SyncingNodes(), configs, sentinel, sentinel).wait_for_sync(STICKY, since=time.monotonic())

    assert (sync.states, sync.differences) == ({}, {})
    assert sentinel.deleted == ["affinity-sentinel"] * sentinels


def test_the_services_under_test_get_no_request() -> None:
    sentinel = SentinelAnswers(1)

    make_testbed(SyncingNodes(), PROXIES, sentinel, sentinel).wait_for_sync(STICKY, since=time.monotonic())

    assert sentinel.targets == [Target("10.200.1.9", 9000)]


def test_a_sentinel_that_never_answers_is_an_error_and_is_removed() -> None:
    sentinel = SentinelAnswers(10**6)

    with pytest.raises(NotReadyError, match="waiting for an answer on a from a sentinel Service"):
        make_testbed(SyncingNodes(a=1), IPVS, sentinel, sentinel, IMPATIENT).wait_for_sync(
            STICKY, since=time.monotonic()
        )
    assert sentinel.deleted == ["affinity-sentinel"]


# nftables: rules are read there as well.


class SyncingTables(SyncingNodes):
    """Nodes in nftables mode that have the Service from their n-th read on."""

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        self.reads.append(list(names))
        states = {}
        for name in self.reads[-1]:
            self.left[name] -= 1
            states[name] = NodeSnapshot(name, nftables=DUMP if self.left[name] <= 0 else None)
        return ByNode(states)


DUMP = nftables_table.parse(json.loads((Path(__file__).parents[1] / "dataplane/dumps/nftables-1.37.json").read_text()))
NFTABLES = ProxyConfigs(default=replace(PROXY, mode="nftables"))
DUMPED = replace(STICKY, name="sticky", cluster_ips=("10.200.1.17",), timeout_seconds=10800)


def test_in_nftables_mode_each_node_is_read_until_it_has_synced() -> None:
    nodes = SyncingTables(a=1, b=2)

    sync = make_testbed(nodes, NFTABLES).wait_for_sync(DUMPED, since=time.monotonic())

    assert nodes.reads == [["a", "b"], ["b"]]
    assert sync.require() is sync


def test_in_nftables_mode_a_node_that_does_not_sync_is_named_with_its_differences() -> None:
    services = SentinelAnswers(0)

    sync = make_testbed(SyncingTables(a=10**6), NFTABLES, services=services, deadlines=IMPATIENT).wait_for_sync(
        DUMPED, since=time.monotonic()
    )

    with pytest.raises(NotReadyError, match=r"a cluster-ips: no element 10\.200\.1\.17"):
        sync.require()


class LosingNodes(SyncingNodes):
    """Nodes of which ``lost`` ones cannot be read."""

    def __init__(self, *lost: str, **synced_after: int) -> None:
        super().__init__(**synced_after)
        self.lost = lost

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        wanted = list(names)
        answers = super().read([name for name in wanted if name not in self.lost])
        return ByNode(answers.readable, {name: "its kubelet stopped" for name in wanted if name in self.lost})


def test_a_node_that_cannot_be_read_is_not_waited_for_and_is_missing() -> None:
    sync = make_testbed(LosingNodes("b", a=1, b=1)).wait_for_sync(STICKY, since=time.monotonic())

    assert (list(sync.states), list(sync.seconds), sync.missing) == (["a"], ["a"], {"b": "its kubelet stopped"})
    assert sync.require("a") is sync
    with pytest.raises(NodeError, match="b: its kubelet stopped"):
        sync.require("b")
    with pytest.raises(NodeError, match="b: its kubelet stopped"):
        sync.require_every_node()
