"""The nodes that disruptions use."""

from __future__ import annotations

import pytest

from session_affinity.scenarios.disruption.allocation import DisruptionNodes

pytestmark = pytest.mark.unit


def test_with_three_other_nodes_each_disruption_has_its_own() -> None:
    nodes = DisruptionNodes.of(["home", "a", "b", "c"], "home")
    assert nodes == DisruptionNodes(flushed="c", partly_flushed="a", outages="b", spares_client=True)


@pytest.mark.parametrize(
    ("names", "nodes"),
    [
        pytest.param(["a", "b", "home"], DisruptionNodes("b", "a", "home", spares_client=False), id="two-others"),
        pytest.param(["a", "home"], DisruptionNodes("a", None, "home", spares_client=False), id="one-other"),
        pytest.param(["home"], DisruptionNodes(None, None, "home", spares_client=False), id="no-other"),
    ],
)
def test_with_fewer_other_nodes_disruptions_share_them(names: list[str], nodes: DisruptionNodes) -> None:
    assert DisruptionNodes.of(names, "home") == nodes


def test_the_clients_node_is_never_flushed() -> None:
    assert DisruptionNodes.of(["a", "b", "home", "c"], "home").flushed == "c"
    assert DisruptionNodes.of(["a", "home"], "home").flushed == "a"
    assert DisruptionNodes.of(["home"], "home").flushed is None
