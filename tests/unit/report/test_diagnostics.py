"""Diagnostics after a failure: everything that can be read, and the reason for everything that cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, NodeError
from session_affinity.kube.api import Api, ApiError
from session_affinity.kube.resources import EVENTS, PODS, Resource
from session_affinity.nodes.node import Completed
from session_affinity.report import diagnostics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.clusters.cluster import Cluster

METRICS = """\
# HELP kubeproxy_sync_proxy_rules_last_timestamp_seconds x
kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7e9
kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.1"} 4
go_goroutines 70
"""


@dataclass(frozen=True)
class FakeNode:
    name: str
    outputs: Mapping[str, str | Exception]

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        assert timeout <= DEFAULTS.node_diagnostics
        assert stdin is None
        output = self.outputs.get(argv[0], FileNotFoundError())
        if isinstance(output, NodeError):
            raise output
        if isinstance(output, Exception):
            return Completed(self.name, tuple(argv), 127, "", f"{argv[0]}: not found")
        return Completed(self.name, tuple(argv), 0, output, "")


@dataclass(frozen=True)
class FakeCluster:
    nodes: Mapping[str, FakeNode]
    log: str = "I1124 synced\n"
    namespace: str = "default"
    mode: str = "iptables"

    @property
    def proxy_configs(self) -> ProxyConfigs:
        return ProxyConfigs.same(ProxyConfig(self.mode, None), self.nodes)

    def dataplane_log(self, node: str) -> str:
        if not self.log:
            raise ClusterError(f"{node}: there is no log")
        return self.log


@dataclass
class FakeApi:
    objects_of: Mapping[Resource, list[dict[str, Any]]] = field(default_factory=dict)
    up: bool = True

    def objects(self, resource: Resource, namespace: str) -> list[dict[str, Any]]:
        assert namespace == "default"
        if not self.up:
            raise ApiError("GET /api/v1/events: no answer from the API: refused")
        return self.objects_of.get(resource, [])

    def text(self, path: str, *, query: Mapping[str, str]) -> str:
        return f"{path} {query['container']} says hello"


def of_node(outputs: Mapping[str, str | Exception], mode: str = "iptables", log: str = "x") -> dict[str, str]:
    cluster = cast("Cluster", FakeCluster({"worker": FakeNode("worker", outputs)}, log, mode=mode))
    return {attachment.name: attachment.body for attachment in diagnostics.of_nodes(cluster, ["worker"])["worker"]}


def test_a_node_has_rules_connections_log_and_metrics() -> None:
    attachments = of_node(
        {"iptables-save": "*nat\n", "ip6tables-save": "*nat\n", "conntrack": "tcp 6\n", "sh": METRICS}
    )

    assert list(attachments) == [
        "worker: iptables-save",
        "worker: ip6tables-save",
        "worker: conntrack -L",
        "worker: end of kube-proxy's log",
        "worker: kube-proxy's metrics",
    ]
    assert attachments["worker: iptables-save"] == "*nat\n"


def test_only_metrics_of_kube_proxy_are_kept() -> None:
    text = of_node({"sh": METRICS})["worker: kube-proxy's metrics"]

    assert "kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7e9" in text
    assert not re.search(r"^(go_|.*_bucket)", text, re.MULTILINE)


def test_in_nftables_mode_the_whole_ruleset_is_kept() -> None:
    assert of_node({"nft": "table ip kube-proxy {}"}, "nftables")["worker: nft list ruleset"].startswith("table ip")


def test_what_cannot_be_read_has_the_reason() -> None:
    attachments = of_node({"iptables-save": NodeError("worker: did not end within 10 s")}, log="")

    assert attachments["worker: iptables-save"] == "not available: worker: did not end within 10 s"
    assert attachments["worker: conntrack -L"] == "not available: conntrack ended with 127: conntrack: not found"
    assert attachments["worker: end of kube-proxy's log"] == "not available: worker: there is no log"
    assert attachments["worker: kube-proxy's metrics"].startswith("not available: sh ended with 127")


def test_no_attachment_is_empty_or_too_large() -> None:
    attachments = of_node({"iptables-save": "x" * 10**6, "ip6tables-save": "", "conntrack": "\n" * 10**6, "sh": ""})

    assert all(text.strip() for name, text in attachments.items() if "conntrack" not in name)
    assert max(map(len, attachments.values())) < diagnostics.MOST_OF_A_RULESET + 1000


def test_without_access_to_nodes_there_is_nothing_to_read() -> None:
    assert diagnostics.of_nodes(cast("Cluster", FakeCluster({})), []) == {}


def test_events_and_pod_logs_come_from_the_api() -> None:
    event = {
        "lastTimestamp": "2026-11-24T06:00:00Z",
        "reason": "Killing",
        "involvedObject": {"kind": "Pod", "name": "w"},
    }
    pod = {"metadata": {"name": "webpod1", "namespace": "default"}, "spec": {"containers": [{"name": "whoami"}]}}
    api = FakeApi({EVENTS: [event], PODS: [pod]})

    events, logs = diagnostics.of_api(cast("Api", api), "default")

    assert "Killing,Pod/w" in events.body
    assert "== webpod1, container whoami" in logs.body
    assert "says hello" in logs.body


def test_an_api_without_an_answer_has_one_attachment() -> None:
    (attachment,) = diagnostics.of_api(cast("Api", FakeApi(up=False)), "default")

    assert attachment.body.startswith("not available: GET /api/v1/events: no answer")


def test_an_empty_namespace_has_no_empty_attachments() -> None:
    assert all(entry.body.strip() for entry in diagnostics.of_api(cast("Api", FakeApi()), "default"))


def test_diagnostics_have_the_api_and_every_node() -> None:
    cluster = cast("Cluster", FakeCluster({"worker": FakeNode("worker", {})}))

    collected = diagnostics.collect(cluster, cast("Api", FakeApi()))

    assert list(collected.attachments) == ["events and pods", "worker"]
    assert not collected.omitted
