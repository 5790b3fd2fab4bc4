"""What is read of a cluster, on a stand-in for its API and nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from session_affinity.dataplane.iptables.expected import endpoint_chains
from session_affinity.dataplane.pages import METRICS_ARGV
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.errors import NodeError, UsageError
from session_affinity.inspection import collect as collect_module
from session_affinity.inspection.cluster import InspectedCluster
from session_affinity.inspection.collect import collect
from session_affinity.inspection.observation import ClientKind, RulesState, Unread
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import ENDPOINT_SLICES, EVENTS, INGRESSES, NODES, PODS, SERVICES, Resource
from session_affinity.nodes.node import Completed
from session_affinity.nodes.nodes import Nodes
from tests import rendered_nodes
from tests.unit.inspection.conftest import ENDPOINTS, WORKERS, endpoint_slice, node, objects, pod, service

pytestmark = pytest.mark.unit

PROXY = ProxyConfig("iptables", "10.10.0.0/16")
CLIENT = "10.10.1.9"
JIFFIES = 4295000000


@dataclass
class FakeApi:
    """Answers with what each resource has, or with a status; ``queries`` are the field selectors."""

    stored: dict[Resource, list[dict[str, Any]]]
    refused: dict[Resource, int] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)

    def objects(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        del labels
        self.queries.append(f"{resource.plural} {namespace} {fields}".strip())
        everywhere = resource is PODS and not namespace
        if resource in self.refused and not (resource is PODS and namespace):
            raise ApiError(f"GET {resource.plural}: {self.refused[resource]}", status=self.refused[resource])
        objects = self.stored.get(resource, [])
        if everywhere and fields.startswith("spec.nodeName="):
            return [each for each in objects if each["spec"].get("nodeName") == fields.partition("=")[2]]
        return objects

    def get(self, resource: Resource, name: str, namespace: str = "") -> dict[str, Any]:
        for each in self.stored[resource]:
            if each["metadata"]["name"] == name:
                return each
        raise ApiError(f"GET {namespace}/{name}: 404", status=404)

    def service_with_slices(self, namespace: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return self.get(SERVICES, name, namespace), self.stored[ENDPOINT_SLICES]


@dataclass
class FakeNode:
    """Prints the Service's rules and one client; without what it ``lacks`` for some reads when it ``recovers``."""

    name: str
    lacks: str = ""
    recovers: bool = False
    fails: bool = False
    failed_syncs: int | None = None
    reads: int = 0
    wrong_reads: int = 1

    def run(self, argv: tuple[str, ...], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        del timeout, stdin
        if self.fails:
            raise NodeError(f"{self.name}: cannot be reached", next_step="see whether it runs")
        if argv == METRICS_ARGV:
            page = f"kubeproxy_sync_proxy_rules_nftables_sync_failures_total {self.failed_syncs}\n"
            return Completed(self.name, argv, 7 if self.failed_syncs is None else 0, page, "")
        if argv[0] == "cat":
            return Completed(self.name, argv, 0, "25\n", "")
        self.reads += 1
        state = objects().states["IPv4"]
        lines = rendered_nodes.iptables_text([state], PROXY).splitlines()
        if self.lacks and not (self.recovers and self.reads > self.wrong_reads):
            lines = [line for line in lines if self.lacks not in line]
        lists = list(endpoint_chains(state))
        entry = f"src={CLIENT} ttl: 64 last_seen: {JIFFIES} oldest_pkt: 1 {JIFFIES}"
        rules = "\n".join(lines)
        paths = " ".join(f"/proc/net/xt_recent/{name}" for name in lists)
        shown = f"/proc/net/xt_recent/{lists[0]}:{entry}\n" if self.name == WORKERS[0] else ""
        uptime = 100 + self.reads
        text = (
            f"@@affinity rules iptables-save\n{rules}\n@@affinity lists {paths}\n{shown}@@affinity clock\n"
            f"jiffies: {JIFFIES + self.reads * 250}\nuptime: {uptime}.00\n@@affinity end\nuptime: {uptime}.00\n"
        )
        return Completed(self.name, argv, 0, text, "")


def cluster_of(*nodes: FakeNode, api: FakeApi | None = None, unread: tuple[Unread, ...] = ()) -> InspectedCluster:
    client = pod("client", address=CLIENT, nodeName=WORKERS[0])
    stored = {
        SERVICES: [service()],
        ENDPOINT_SLICES: [endpoint_slice()],
        PODS: [*(pod(endpoint.pod, address=endpoint.address) for endpoint in ENDPOINTS), client],
        NODES: [node(name, number) for number, name in enumerate(WORKERS, 1)],
    }
    fake: Any = api or FakeApi(stored)
    fake.stored = {**stored, **fake.stored}
    return InspectedCluster(
        fake, Nodes({each.name: each for each in nodes}), ProxyConfigs(default=PROXY), unread=unread
    )


def healthy() -> tuple[FakeNode, ...]:
    return tuple(FakeNode(name) for name in WORKERS)


def test_everything_is_read_and_the_client_is_named() -> None:
    seen = collect(cluster_of(*healthy()), "shop", "cart")

    assert [reading.rules for reading in seen.nodes] == [RulesState.EXPECTED] * 3
    (binding,) = seen.live_bindings
    assert (binding.client, binding.node, binding.connections) == (CLIENT, WORKERS[0], 1)
    assert binding.age is not None
    assert binding.age >= 1
    assert (seen.client(CLIENT).kind, seen.client(CLIENT).name) == (ClientKind.POD, "shop/client")
    assert {store.capacity for reading in seen.nodes for store in reading.stores} == {25}
    assert seen.unread == ()


def test_an_unknown_service_is_a_usage_error_with_similar_names() -> None:
    with pytest.raises(UsageError, match=r"no Service crat in namespace shop\n  next: did you mean cart"):
        collect(cluster_of(*healthy()), "shop", "crat")


def test_an_unknown_service_among_others_lists_them() -> None:
    with pytest.raises(UsageError, match="namespace shop has cart; -n names another namespace"):
        collect(cluster_of(*healthy()), "shop", "xyz")


def test_what_may_not_be_read_is_named_and_the_rest_is_read() -> None:
    api = FakeApi({}, {EVENTS: 403, INGRESSES: 403, NODES: 403, PODS: 403})

    seen = collect(cluster_of(*healthy(), api=api), "shop", "cart")

    assert {(unread.what, unread.is_decisive) for unread in seen.unread} == {
        ("events", False), ("Ingresses", False), ("nodes", False),
    } | ({("pods of all namespaces, to name clients", False)})  # fmt: skip
    assert {unread.why for unread in seen.unread} == {"no permission to read them"}
    assert seen.objects.nodes is None
    assert [reading.rules for reading in seen.nodes] == [RulesState.EXPECTED] * 3


def test_events_decide_about_load_balancers() -> None:
    balanced = {SERVICES: [service(type="LoadBalancer")]}

    seen = collect(cluster_of(api=FakeApi(balanced, {EVENTS: 403})), "shop", "cart")

    assert [(unread.what, unread.is_decisive) for unread in seen.unread] == [("events", True)]


def test_a_kind_that_the_cluster_lacks_is_not_missed() -> None:
    seen = collect(cluster_of(api=FakeApi({}, {INGRESSES: 404})), "shop", "cart")

    assert seen.unread == ()


def test_a_node_that_cannot_be_read_costs_only_its_own_rules() -> None:
    first, second, _ = healthy()

    seen = collect(cluster_of(first, second, FakeNode(WORKERS[2], fails=True)), "shop", "cart")

    assert [reading.rules for reading in seen.nodes] == [
        RulesState.EXPECTED, RulesState.EXPECTED, RulesState.NOT_READ,
    ]  # fmt: skip
    assert "cannot be reached; see whether it runs" in seen.nodes[2].not_read


def test_a_difference_that_goes_away_is_a_sync_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_module, "DIFFERENCE_SECONDS", 0.2)
    late, wrong = FakeNode(WORKERS[1], "--rcheck", recovers=True), FakeNode(WORKERS[2], "--rcheck")

    seen = collect(cluster_of(FakeNode(WORKERS[0]), late, wrong), "shop", "cart")

    assert [reading.rules for reading in seen.nodes] == [
        RulesState.EXPECTED, RulesState.EXPECTED, RulesState.DIFFER,
    ]  # fmt: skip


def test_a_difference_must_outlast_a_long_min_sync_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_module, "DIFFERENCE_SECONDS", 0.0)
    late = FakeNode(WORKERS[0], "--rcheck", recovers=True, wrong_reads=3)
    slow = ProxyConfigs(default=replace(PROXY, min_sync_period=11.0))

    seen = collect(replace(cluster_of(late), proxy_configs=slow), "shop", "cart")

    assert [reading.rules for reading in seen.nodes] == [RulesState.EXPECTED]


@pytest.mark.parametrize("failed", [None, 0, 3])
def test_a_kube_proxy_whose_rules_differ_is_asked_for_its_failed_syncs(failed: int | None) -> None:
    wrong = FakeNode(WORKERS[1], "--rcheck", failed_syncs=failed)

    seen = collect(cluster_of(FakeNode(WORKERS[0], failed_syncs=5), wrong), "shop", "cart")

    assert [node.failed_syncs for node in seen.nodes] == [None, failed]


def test_rules_that_cannot_be_read_on_any_node_are_not_compared() -> None:
    cluster = cluster_of(*healthy())
    blind = InspectedCluster(cluster.api, cluster.nodes, ProxyConfigs(default=PROXY, unreadable="legacy tables"))

    seen = collect(blind, "shop", "cart")

    assert {(reading.rules, reading.not_compared) for reading in seen.nodes} == {
        (RulesState.NOT_COMPARED, "legacy tables")
    }


def test_what_the_cluster_lacks_is_passed_on() -> None:
    lacking = Unread("the nodes", "no access")

    assert collect(cluster_of(unread=(lacking,)), "shop", "cart").unread == (lacking,)
