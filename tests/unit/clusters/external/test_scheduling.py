"""The options about nodes: tolerations, node labels and node names."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.clusters.external.scheduling import NodeSelection, Toleration, pairs, selection_of
from session_affinity.clusters.options import ClusterOptions
from session_affinity.errors import UsageError

pytestmark = pytest.mark.unit

TAINT = {"key": "example.com/dedicated", "value": "team", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("text", "manifest", "matches"),
    [
        pytest.param("all", {"operator": "Exists"}, True, id="all"),
        pytest.param(
            "example.com/dedicated", {"key": "example.com/dedicated", "operator": "Exists"}, True, id="any-value"
        ),
        pytest.param(
            "example.com/dedicated=team:NoSchedule",
            {"key": "example.com/dedicated", "operator": "Equal", "value": "team", "effect": "NoSchedule"},
            True,
            id="exact",
        ),
        pytest.param(
            "example.com/dedicated=",
            {"key": "example.com/dedicated", "operator": "Equal", "value": ""},
            False,
            id="empty-value",
        ),
        pytest.param(
            "example.com/dedicated:NoExecute",
            {"key": "example.com/dedicated", "operator": "Exists", "effect": "NoExecute"},
            False,
            id="another-effect",
        ),
        pytest.param("other", {"key": "other", "operator": "Exists"}, False, id="another-key"),
    ],
)
def test_a_toleration_is_written_and_matched_as_the_api_does(
    text: str, manifest: dict[str, str], *, matches: bool
) -> None:
    toleration = Toleration.parse(text)

    assert toleration.manifest() == manifest
    assert toleration.matches(TAINT) is matches


@pytest.mark.parametrize("text", ["", "=value", "key:Never", ":NoSchedule"])
def test_a_toleration_that_is_not_understood_is_named_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"--toleration .* is not understood\n  next: write KEY\[=VALUE\]\[:EFFECT\]"):
        Toleration.parse(text)


@pytest.mark.parametrize(
    ("selection", "name", "selected"),
    [
        (NodeSelection(), "a", True),
        (NodeSelection(names=("a",)), "a", True),
        (NodeSelection(names=("b",)), "a", False),
        (NodeSelection({"pool": "blue"}), "a", True),
        (NodeSelection({"pool": "red"}), "a", False),
        (NodeSelection({"pool": "blue"}, ("b",)), "a", False),
    ],
)
def test_a_node_is_selected_by_label_and_name(selection: NodeSelection, name: str, *, selected: bool) -> None:
    node: dict[str, Any] = {"metadata": {"name": name, "labels": {"pool": "blue"}}}

    assert selection.includes(node) is selected


@pytest.mark.parametrize(
    ("nodes", "selection"),
    [
        ("all", NodeSelection()),
        ("a,b", NodeSelection(names=("a", "b"))),
        ("pool=blue,a", NodeSelection({"pool": "blue"}, ("a",))),
        ("sample:50", NodeSelection(sample=50)),
        ("pool=blue,sample:5", NodeSelection({"pool": "blue"}, sample=5)),
    ],
)
def test_nodes_are_named_labelled_or_a_sample(nodes: str, selection: NodeSelection) -> None:
    assert selection_of(ClusterOptions(nodes=nodes)) == selection


@pytest.mark.parametrize("nodes", ["sample:", "sample:0", "sample:some", "sample:1,sample:2", "sample:5,a", "=x"])
def test_nodes_that_are_not_understood_are_named(nodes: str) -> None:
    with pytest.raises(UsageError, match=r"--nodes .* is not understood"):
        selection_of(ClusterOptions(nodes=nodes))


def test_options_select_nodes() -> None:
    options = ClusterOptions(nodes="a, b", node_selector=("pool=blue,zone=x", "arch=arm64"))

    assert selection_of(options) == NodeSelection({"pool": "blue", "zone": "x", "arch": "arm64"}, ("a", "b"))


def test_a_pair_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match=r"--namespace-label team is not understood\n  next: write KEY=VALUE"):
        pairs("--namespace-label", ["team"])
