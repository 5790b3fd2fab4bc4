"""The nodes of the sample pods, by what the API has about the nodes."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.clusters.external.placement import Placement, by_scheduler, on_node, place, survey
from session_affinity.clusters.external.scheduling import NodeSelection, Toleration
from session_affinity.errors import ClusterError

pytestmark = pytest.mark.unit

ENDPOINTS = ("webpod1", "webpod2", "webpod3")
POD: dict[str, Any] = {
    "metadata": {"name": "webpod2", "labels": {"app.kubernetes.io/part-of": "suite"}},
    "spec": {"nodeName": "myk8s-worker2", "containers": []},
}


def node(name: str, *taints: str, ready: str = "True", cordoned: bool = False, system: str = "linux") -> dict[str, Any]:
    pairs = [taint.split(":") for taint in taints]
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": system}},
        "spec": {"unschedulable": cordoned, "taints": [{"key": key, "effect": effect} for key, effect in pairs]},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped"}]},
    }


def placed(*nodes: dict[str, Any], **settings: Any) -> Placement:
    return place(ENDPOINTS, "net-pod", survey(nodes, **settings))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param("abcde", "abcd", id="one-more-than-needed"),
        pytest.param("abcd", "abcd", id="as-many-as-pods"),
        pytest.param("abc", "abca", id="client-beside-an-endpoint"),
        pytest.param("ab", "abab", id="endpoints-share"),
        pytest.param("a", "aaaa", id="all-on-one"),
    ],
)
def test_pods_are_apart_as_far_as_there_are_nodes(names: str, expected: str) -> None:
    nodes = placed(*map(node, names)).nodes

    assert [nodes[pod] for pod in (*ENDPOINTS, "net-pod")] == list(expected)


def test_four_nodes_need_no_statement_but_where_the_pods_are() -> None:
    assert placed(*map(node, "abcd")).statements == ("endpoints on a, b, c; the client on d",)


def test_fewer_nodes_are_stated_with_what_follows() -> None:
    three, two = placed(*map(node, "abc")).statements, placed(*map(node, "ab")).statements

    assert three[1:] == (
        "no node is left for the client, it runs beside webpod1: requests that all cross nodes are not judged",
    )
    assert "3 endpoints share 2 nodes that take pods" in two[1]
    assert "it runs beside webpod2" in two[2]


def test_nodes_that_take_no_pods_are_passed_over_and_named() -> None:
    result = placed(
        node("a", "node-role.kubernetes.io/control-plane:NoSchedule"),
        node("b", "dedicated:PreferNoSchedule"),
        node("c", "node.kubernetes.io/unschedulable:NoSchedule", cordoned=True),
        node("d", "node.kubernetes.io/not-ready:NoExecute", ready="False"),
        node("e", system="windows"),
        node("f"),
    )

    assert set(result.nodes.values()) == {"b", "f"}
    assert result.statements[-1] == (
        "without sample pods: a (tainted node-role.kubernetes.io/control-plane:NoSchedule), c (cordoned), "
        "d (NotReady (kubelet stopped)), e (runs windows)"
    )


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        pytest.param(
            [node("a", ready="False"), node("b", ready="Unknown")], r"a: NotReady \(kubelet.*b: Not", id="down"
        ),
        pytest.param([], "there are no nodes", id="none"),
    ],
)
def test_a_cluster_that_takes_no_pods_is_an_error(nodes: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(ClusterError, match=reason):
        placed(*nodes)


def test_a_pod_requires_its_node_and_is_scheduled_like_any_other() -> None:
    spec = on_node(POD, Placement({"webpod2": "b"}))["spec"]

    assert "nodeName" not in spec
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}
    assert POD["spec"]["nodeName"] == "myk8s-worker2"


def test_where_nodes_may_not_be_listed_the_scheduler_spreads() -> None:
    placement = by_scheduler("no permission")
    spec = on_node(POD, placement)["spec"]

    assert "nodeName" not in spec
    assert "affinity" not in spec
    (spread,) = spec["topologySpreadConstraints"]
    assert (spread["whenUnsatisfiable"], spread["labelSelector"]["matchLabels"]) == (
        "ScheduleAnyway",
        {"app.kubernetes.io/part-of": "suite"},
    )
    assert placement.statements == ("no permission: the scheduler chooses the nodes of the sample pods",)


def test_a_pod_of_a_test_requires_the_node_it_was_given() -> None:
    pod = {**POD, "metadata": {"name": "affinity-one-x1y2z"}, "spec": {"nodeName": "b", "containers": []}}

    spec = on_node(pod, placed(*map(node, "abcd")))["spec"]

    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]
    assert "nodeName" not in spec


def test_tolerated_taints_and_selected_nodes_decide() -> None:
    nodes = [node("a", "dedicated:NoSchedule"), node("b"), node("c")]
    tolerations = [Toleration.parse("dedicated")]

    tolerated = placed(*nodes, tolerations=tolerations)
    selected = placed(*nodes, tolerations=tolerations, selection=NodeSelection(names=("a", "c")))

    assert set(tolerated.nodes.values()) == {"a", "b", "c"}
    assert set(selected.nodes.values()) == {"a", "c"}
    assert selected.statements[-1] == "without sample pods: b (not selected)"


def test_a_pod_without_a_node_stays_on_the_selected_ones() -> None:
    selection = NodeSelection({"pool": "blue"}, ("a", "b"))

    spec = on_node(POD, by_scheduler("no permission"), selection)["spec"]

    assert spec["nodeSelector"] == {"pool": "blue"}
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["a"], ["b"]]
