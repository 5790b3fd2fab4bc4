"""Agents that judge on a real cluster: the same outcomes as by reading everything, and agents that fail or are lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from session_affinity import about
from session_affinity.clusters.external import provider
from session_affinity.clusters.external.discovery import discover
from session_affinity.clusters.options import ClusterOptions
from session_affinity.conformance import report
from session_affinity.dataplane.model import CLIENT_IP, ServiceState
from session_affinity.deadlines import Deadlines
from session_affinity.kube.api import Api
from session_affinity.nodes.nodes import Nodes
from session_affinity.progress import quiet
from session_affinity.testbed.testbed import NodeTestbed
from session_affinity.waiting import poll
from tests.defects.defect import Place
from tests.integration.in_cluster.conftest import WRONG_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from session_affinity.agents.fleet import Fleet
    from tests.integration.in_cluster.conftest import InCluster

pytestmark = pytest.mark.long

OPTIONS = ("--node-access=agent", "--image-tags")
JUDGING = f"--agent-image={about.IMAGE}"
CLAIMS = ("C10", "rules", "lists", "shapes")
NOTHING = ServiceState("default", "nothing", (), CLIENT_IP, 30, ())
"""A Service that calls for no rules, which every node has."""


def outcomes(cluster: InCluster, tmp_path: Path, *options: str, code: int) -> dict[str, tuple[str, str]]:
    """Return result and message of each claim of a run from outside."""
    file = tmp_path / f"report{len(list(tmp_path.iterdir()))}.yaml"
    arguments = (f"--kubeconfig={cluster.kubeconfig}", *OPTIONS, cluster.scale, f"--report={file}", *options, *CLAIMS)
    output = cluster.run("check", *arguments, code=code)
    assert ("node agents at the coordinator" in output) is (JUDGING in options)
    assert "do not judge" not in output
    claims = report.read(file)["claims"]
    return {claim["id"]: (claim["result"], str(claim.get("message", "")).partition(":")[0]) for claim in claims}


def test_agents_that_judge_and_readings_of_everything_have_the_same_outcomes(
    in_cluster: InCluster, tmp_path: Path
) -> None:
    before = in_cluster.traces()

    read = outcomes(in_cluster, tmp_path, code=0)
    judged = outcomes(in_cluster, tmp_path, JUDGING, code=0)

    assert judged == read
    assert {"C16", "C20", "C21", "C90"} <= {claim for claim, (result, _) in judged.items() if result == "passed"}
    assert poll(lambda: in_cluster.traces() == before, 30.0, pause=0.5)


def test_a_defect_on_one_node_has_the_same_outcomes(in_cluster: InCluster, tmp_path: Path) -> None:
    with WRONG_TIMEOUT(in_cluster.defective):
        read = outcomes(in_cluster, tmp_path, code=1)
        judged = outcomes(in_cluster, tmp_path, JUDGING, code=1)

    assert judged == read
    result, message = judged["C16"]
    assert result == "failed"
    assert in_cluster.defective.node(Place.SICK) in message


@contextlib.contextmanager
def agents(cluster: InCluster) -> Iterator[tuple[Fleet, NodeTestbed]]:
    """Agents that judge, and the nodes that they are on."""
    scale = cluster.defective.deadline_scale
    deadlines = Deadlines().scaled(scale)
    options = ClusterOptions(
        cluster="external",
        kubeconfig=cluster.kubeconfig,
        node_access="agent",
        agent_image=about.IMAGE,
        image_tags=True,
        deadlines=deadlines,
    )
    api = Api(cluster.kubeconfig)
    with provider.open_agents(api, options, quiet()) as started:
        assert started.fleet is not None
        configs = discover(api, started.nodes, fleet=started.fleet)
        short = Deadlines(node_read=4.0 * scale, node_second_try=4.0 * scale, node_retry=0.0)
        nodes = Nodes(started.nodes, deadlines=short, fleet=started.fleet)
        yield started.fleet, NodeTestbed(nodes, configs, short)


def test_a_killed_agent_costs_its_nodes_verdict_until_its_successor_judges(in_cluster: InCluster) -> None:
    sick = in_cluster.defective.node(Place.SICK)
    with agents(in_cluster) as (fleet, testbed):
        everywhere = testbed.judge([NOTHING])
        pod = fleet.connected(10.0)[sick]
        (namespace,) = (
            name["metadata"]["name"]
            for name in in_cluster.objects("namespaces")
            if name["metadata"]["name"].startswith("session-affinity-")
        )

        in_cluster.kubectl("delete", "pod", "-n", namespace, pod, "--grace-period=0", "--force")
        gone = poll(lambda: fleet.connected(10.0).get(sick) != pod, 30.0)
        without = testbed.judge([NOTHING])
        back = poll(lambda: fleet.connected(10.0).get(sick) not in (None, pod), 60.0)
        again = testbed.judge([NOTHING])

    assert (everywhere.missing, gone, back) == ({}, True, True)
    # Its successor may be there before the question.
    assert without.missing.keys() <= {sick}
    assert all("not connected" in reason or "gone" in reason for reason in without.missing.values())
    assert again.missing == {}
    assert again.keys() == everywhere.keys()


LOST = """
nft -f - <<END
table inet session-affinity-lost {
  chain input { type filter hook input priority -300; policy drop; }
  chain output { type filter hook output priority -300; policy drop; }
}
END
"""
"""Cuts a node off: its packets are dropped without an answer."""


def test_a_node_that_is_lost_is_missing_and_the_others_are_judged(in_cluster: InCluster) -> None:
    sick = in_cluster.defective.node(Place.SICK)
    with agents(in_cluster) as (_, testbed):
        in_cluster.defective.on_node(Place.SICK, "sh", "-c", LOST)
        try:
            without = testbed.judge([NOTHING])
        finally:
            in_cluster.defective.on_node(Place.SICK, "nft", "delete", "table", "inet", "session-affinity-lost")
        again = poll(lambda: not testbed.judge([NOTHING]).missing, 90.0, pause=0.5)

    # Also where the coordinator was on that node: nodes are read one by one then.
    assert without.missing.keys() == {sick}
    assert sick not in without.readable
    assert len(without.readable) == len(in_cluster.defective.nodes) - 1
    assert again
