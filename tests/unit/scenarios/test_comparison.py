"""Comparisons of all hand-made Services, on nodes that were printed from the expected state."""

from __future__ import annotations

import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.deadlines import Deadlines
from session_affinity.errors import NodeError, NotReadyError
from session_affinity.nodes.by_node import ByNode
from session_affinity.scenarios import comparison
from session_affinity.scenarios.comparison import Comparison, aware_of_nodes, compare, merged
from session_affinity.testbed.testbed import Testbed
from tests import rendered_nodes
from tests.judged_nodes import JudgedNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState

Json = dict[str, Any]
PROXY = ProxyConfig("iptables", "10.10.0.0/16", min_sync_period=0.0)
LABEL = "service.kubernetes.io/service-proxy-name"


def service(name: str, address: str, **labels: str) -> Json:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "work", "labels": labels},
        "spec": {"clusterIP": address, "sessionAffinity": "ClientIP", "ports": [{"port": 80, "protocol": "TCP"}]},
    }


def endpoint_slice(of: str, *addresses: str) -> Json:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{of}-1", "namespace": "work", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


class Stored:
    """Hand-made objects as the API has them; the sentinel gets an address."""

    def __init__(self, services: Sequence[Json], slices: Sequence[Json]) -> None:
        self.services, self.slices = list(services), list(slices)

    def create(self, manifests: Iterable[Json]) -> list[Json]:
        made_service, made_slice = manifests
        metadata = {**made_service["metadata"], "namespace": "work"}
        spec = {**made_service["spec"], "clusterIP": "10.200.9.9"}
        self.services.append({**made_service, "metadata": metadata, "spec": spec})
        self.slices.append({**made_slice, "metadata": {**made_slice["metadata"], "namespace": "work"}})
        return [self.services[-1], self.slices[-1]]

    def delete(self, manifests: Iterable[Json]) -> None:
        names = {manifest["metadata"]["name"] for manifest in manifests}
        self.services = [each for each in self.services if each["metadata"]["name"] not in names]

    def stored(self) -> tuple[list[Json], list[Json]]:
        return self.services, self.slices

    def states(self) -> list[ServiceState]:
        return handmade.states(self.services, self.slices)


class NodesWith(JudgedNodes):
    """Nodes whose rules a function makes, given how often the node was read."""

    allowed_missing = 0

    def __init__(self, made: Callable[[int], Sequence[ServiceState]], missing: dict[str, str] | None = None) -> None:
        self.made = made
        self.missing = missing or {}
        self.reads = 0

    names = ("a",)

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        self.reads += 1
        missing = {name: reason for name, reason in self.missing.items() if name in names}
        node = rendered_nodes.iptables_node(self.made(self.reads), PROXY, "a")
        return ByNode({"a": node} if "a" in names else {}, missing)


AB = ([service("x", "10.200.1.1"), service("y", "10.200.1.2")], [endpoint_slice("x", "192.0.2.7")])


SYNC_SECONDS = 0.2
"""The deadline of a sync in these tests."""


def run(stored: Stored, nodes: NodesWith, **options: Any) -> Comparison:
    fake: Any = None
    read: Any = nodes
    testbed = Testbed(read, ProxyConfigs(default=PROXY), fake, fake, Deadlines(sync=SYNC_SECONDS))
    made: Any = stored
    return compare(testbed, made, since=time.monotonic(), **options)


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "POLL_SECONDS", 0.001)


def test_nodes_are_compared_when_they_have_the_sentinel() -> None:
    stored = Stored(*AB)
    nodes = NodesWith(lambda reads: stored.states() if reads > 2 else stored.states()[:1])

    found = run(stored, nodes).require()

    assert nodes.reads == 3
    assert found.is_equal
    assert list(found.programmed) == ["a"]
    assert [state.name for state in found.services] == ["x", "y"]


def test_a_node_that_has_the_sentinel_and_differs_is_wrong() -> None:
    stored = Stored(*AB)

    def wrong(_: int) -> list[ServiceState]:
        first, *others = stored.states()
        return [replace(first, session_affinity="None", timeout_seconds=None), *others]

    found = run(stored, NodesWith(wrong)).require()

    assert not found.is_equal
    assert [state.name for state in found.differences["a"]] == ["x"]


def test_a_node_without_the_sentinel_is_late_and_not_compared() -> None:
    stored = Stored(*AB)

    found = run(stored, NodesWith(lambda _: stored.states()[:-1]))

    assert (found.late, found.differences) == (("a",), {})
    with pytest.raises(NotReadyError, match="a: did not program a Service created after 2 others"):
        found.require()


def test_a_node_of_a_busy_machine_gets_more_than_the_time_of_a_sync() -> None:
    stored = Stored(*AB)
    began = time.monotonic()

    def has_it_late(_: int) -> list[ServiceState]:
        return stored.states() if time.monotonic() > began + 2 * SYNC_SECONDS else stored.states()[:-1]

    assert run(stored, NodesWith(has_it_late)).require().is_equal


def test_a_node_that_cannot_be_read_is_missing() -> None:
    stored = Stored(*AB)

    found = run(stored, NodesWith(lambda _: stored.states(), missing={"b": "no answer"}))

    assert (found.late, found.missing) == ((), {"b": "no answer"})
    with pytest.raises(NodeError, match="b: no answer"):
        found.require()


def test_rules_of_a_service_that_is_another_proxys_are_leftovers() -> None:
    stored = Stored([service("x", "10.200.1.1", **{LABEL: "other"})], [endpoint_slice("x", "192.0.2.7")])

    def programmed(_: int) -> list[ServiceState]:
        return [replace(state, cluster_ips=state.cluster_ips or ("10.200.1.1",)) for state in stored.states()]

    found = run(stored, NodesWith(programmed))

    assert {difference.chain for difference in found.leftovers["a"]} >= {"KUBE-SERVICES"}


def test_rules_of_former_services_are_leftovers_and_those_of_others_are_not() -> None:
    stored = Stored([], [])
    gone, other = Stored([service("gone", "10.200.1.1"), service("other", "10.200.1.5")], AB[1]).states()
    gone = replace(gone, ports=tuple(replace(port, endpoints=other_endpoints()) for port in gone.ports))
    other = replace(other, ports=gone.ports)
    nodes = NodesWith(lambda _: [*stored.states(), gone, other])

    found = run(stored, nodes, former=[gone]).leftovers["a"]

    own = {"KUBE-SERVICES", *rendered_nodes.iptables_expected.expected(gone, PROXY, "a").chains}
    assert {difference.chain for difference in found} == own
    assert run(stored, nodes).leftovers["a"] == ()
    # Where nothing else changes, whatever no Service calls for is one.
    everything = run(stored, nodes, others=[other]).leftovers["a"]
    assert {difference.chain for difference in everything} == own


def other_endpoints() -> Any:
    return Stored([service("x", "10.200.1.1")], AB[1]).states()[0].ports[0].endpoints


def test_a_node_may_get_the_rest_of_a_change_later() -> None:
    stored = Stored(*AB)

    def soon_right(reads: int) -> list[ServiceState]:
        first, *others = stored.states()
        return [first if reads > 2 else replace(first, timeout_seconds=7), *others]

    assert not run(stored, NodesWith(soon_right)).is_equal
    assert run(stored, NodesWith(soon_right), patience=5.0).is_equal


class NodesOfReleases(JudgedNodes):
    """Nodes whose kube-proxies have other releases, each with the rules that follow for its own."""

    allowed_missing = 0
    missing: Mapping[str, str] = MappingProxyType({})
    lost = ""
    """A rule that no node has."""

    def __init__(self, stored: Stored, configs: Mapping[str, ProxyConfig]) -> None:
        self.stored, self.configs = stored, configs
        self.names = tuple(configs)

    def read(self, names: Iterable[str]) -> ByNode[NodeSnapshot]:
        return ByNode({name: self._node(self.configs[name], name) for name in names})

    def _node(self, proxy: ProxyConfig, name: str) -> NodeSnapshot:
        states = handmade.states(self.stored.services, self.stored.slices, release=proxy.expected_release)
        text = rendered_nodes.iptables_text(states, proxy, name)
        return NodeSnapshot(name, save.parse("\n".join(line for line in text.splitlines() if line != self.lost)))


def test_each_node_is_compared_with_what_follows_for_its_own_release() -> None:
    ranges = {"loadBalancerSourceRanges": ["0.0.0.0/0", "192.0.2.0/24"]}
    balanced = service("x", "10.200.1.1")
    balanced["spec"] |= {"type": "LoadBalancer", **ranges}
    balanced["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}
    hinted = endpoint_slice("y", "192.0.2.7", "192.0.2.8")
    for endpoint, name in zip(hinted["endpoints"], ("a", "b"), strict=True):
        endpoint["hints"] = {"forNodes": [{"name": name}]}
    labelled = endpoint_slice("z", "192.0.2.9")
    labelled["metadata"]["labels"][LABEL] = "other"
    stored = Stored(
        [balanced, service("y", "10.200.1.2"), service("z", "10.200.1.3")],
        [endpoint_slice("x", "192.0.2.7"), hinted, labelled],
    )
    releases = {"a": (1, 37), "b": (1, 33), "c": (1, 35), "d": (1, 33)}
    configs = {name: replace(PROXY, release=release) for name, release in releases.items()}
    read, fake = NodesOfReleases(stored, configs), None
    testbed: Any = Testbed(read, ProxyConfigs(configs), fake, fake, Deadlines(sync=SYNC_SECONDS))  # type: ignore[arg-type]
    made: Any = stored

    found = compare(testbed, made, since=time.monotonic()).require()
    read.configs = dict.fromkeys(configs, configs["a"])
    wrong = compare(testbed, made, since=time.monotonic()).require()

    assert found.is_equal
    assert found.programmed.keys() == configs.keys()
    assert {name: {each.name for each in of_node} for name, of_node in wrong.differences.items()} == {
        "a": set(),
        "b": {"x", "y", "z"},
        "c": {"z"},
        "d": {"x", "z"},
    }
    assert all(each in wrong.services for of_node in wrong.differences.values() for each in of_node)

    read.configs, read.lost = configs, "-A FORWARD -j KUBE-FORWARD"
    lost = compare(testbed, made, since=time.monotonic()).require()

    assert {name: len(of_node) for name, of_node in lost.differences.items()} == dict.fromkeys(configs, 4)


def test_zones_and_addresses_are_those_of_the_nodes() -> None:
    fake: Any = None
    testbed = Testbed(fake, ProxyConfigs(default=PROXY), fake, fake)
    node = {
        "metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "east"}},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "a"},
                {"type": "ExternalIP", "address": "198.51.100.4"},
                {"type": "InternalIP", "address": "172.30.0.4"},
            ]
        },
    }

    proxy = aware_of_nodes(testbed, [node, {"metadata": {"name": "b"}}]).proxy_of("a")

    assert proxy.zones == {"a": "east", "b": ""}
    assert proxy.node_address("a", "IPv4") == "172.30.0.4"
    assert proxy.node_address("b", "IPv4") == "127.0.0.1"


def test_comparisons_one_after_another_count_as_one() -> None:
    first, second = handmade.states([service("a", "10.200.1.1"), service("b", "10.200.1.2")], [])
    difference, leftover = other_difference("one"), other_difference("two")
    parts = [
        Comparison((first,), {"one": {first: (difference,)}, "two": {}, "three": {}}, {}, {"one": 1.0, "two": 3.0}),
        Comparison((second,), {"two": {}}, {"two": (leftover,)}, {"one": 2.0, "two": 1.0}, missing={"three": "gone"}),
    ]

    whole = merged(parts)

    assert whole.services == (first, second)
    # The first was not compared the second time, and differs all the same; the third was compared once only.
    assert whole.differences == {"one": {first: (difference,)}, "two": {}}
    assert whole.leftovers == {"one": (), "two": (leftover,)}
    assert whole.programmed == {"one": 2.0, "two": 3.0}
    assert whole.missing == {"three": "gone"}


def other_difference(node: str) -> Difference:
    return Difference(node, "KUBE-SVC-X", 1, Aspect.AFFINITY_PRESENCE, "a rule", "none", "Service work/a")
