"""The judgement of a node, by the suite from a snapshot and by an agent from what it was sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_affinity.agents import answers
from session_affinity.dataplane import backends, snapshot
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.judgement import (
    LeftoverQuestion,
    NodePart,
    Question,
    digest,
    judge,
    needed_chain,
    part_of,
)
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState, Twin
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.errors import NodeError
from tests import rendered_nodes

pytestmark = pytest.mark.unit

PROXIES = {mode: ProxyConfig(mode, "10.10.0.0/16") for mode in ("iptables", "nftables")}
X = ServiceState(
    *("default", "x", ("10.200.1.5",), CLIENT_IP, 30),
    (ServicePort("web", "TCP", 80, tuple(Endpoint(f"10.10.{number}.2", 80) for number in (1, 2, 3))),),
)
Y = replace(X, name="y", cluster_ips=("10.200.1.6",))
SENTINEL = replace(X, name="sentinel", cluster_ips=("10.200.1.7",))


def node(mode: str, *services: ServiceState, name: str = "a") -> NodeSnapshot:
    make: Any = rendered_nodes.iptables_node if mode == "iptables" else rendered_nodes.nftables_node
    made: NodeSnapshot = make(services, PROXIES[mode], name)
    return made


@pytest.mark.parametrize("mode", PROXIES)
def test_a_node_with_the_expected_rules_is_equal_and_has_the_markers(mode: str) -> None:
    asked = Question(mode, "IPv4", (X, Y), markers=(SENTINEL,))

    with_marker = judge(node(mode, X, Y, SENTINEL), asked, NodePart(PROXIES[mode]))
    without = judge(node(mode, X, Y), asked, NodePart(PROXIES[mode]))

    assert (with_marker.is_equal, with_marker.has_markers) == (True, True)
    assert (without.is_equal, without.has_markers) == (True, False)


@pytest.mark.parametrize("mode", PROXIES)
def test_only_a_node_with_the_markers_is_compared_where_that_is_asked(mode: str) -> None:
    asked = Question(mode, "IPv4", (X,), markers=(SENTINEL,), only_marked=True)
    wrong = replace(X, timeout_seconds=7)

    late = judge(node(mode, wrong), asked, NodePart(PROXIES[mode]))
    synced = judge(node(mode, wrong, SENTINEL), asked, NodePart(PROXIES[mode]))

    assert (late.is_equal, late.has_markers) == (True, False)
    assert list(synced.differences) == [X]


def test_the_chain_that_a_node_cannot_do_without_is_that_of_the_youngest_service_that_has_one() -> None:
    part = NodePart(PROXIES["iptables"])
    without = replace(X, name="none", ports=(X.ports[0].without_endpoints(),))

    def needed(*services: ServiceState, only_marked: bool = False) -> str:
        asked = Question("iptables", "IPv4", services, markers=(SENTINEL,), only_marked=only_marked)
        return needed_chain("a", asked, part)

    def is_there(chain: str, *services: ServiceState) -> bool:
        return chain in node("iptables", *services).ruleset.chains()

    assert is_there(needed(X, Y, without), Y)
    assert not is_there(needed(X, Y, without), X, without, SENTINEL)
    assert is_there(needed(X, only_marked=True), SENTINEL)
    assert not is_there(needed(X, only_marked=True), X)
    assert needed(without) == ""


def test_no_chain_is_needed_where_slices_disagree_about_endpoints_or_nft_lists_chains() -> None:
    disagreeing = replace(X, ports=(replace(X.ports[0], twins=(Twin(()),)),))

    assert needed_chain("a", Question("iptables", "IPv4", (disagreeing,)), NodePart(PROXIES["iptables"])) == ""
    assert needed_chain("a", Question("nftables", "IPv4", (X,)), NodePart(PROXIES["nftables"])) == ""


@pytest.mark.parametrize("mode", PROXIES)
def test_rules_that_follow_from_stale_slices_are_named_and_no_difference(mode: str) -> None:
    stale = replace(X, ports=(replace(X.ports[0], endpoints=X.ports[0].endpoints[:2]),))

    found = judge(node(mode, stale, Y), Question(mode, "IPv4", (X, Y)), NodePart(PROXIES[mode], (stale,)))

    assert (found.is_equal, found.stale) == (True, ("x",))


@pytest.mark.parametrize("of", ["cluster IP", "node port", "health check"])
def test_refusals_of_a_former_service_are_its_leftovers_by_their_comments(of: str) -> None:
    """Neither an address nor a name of a chain shows whose they are: another Service may have the cluster IP by now."""
    port = replace(X.ports[0].without_endpoints(), node_port=30080)
    gone = replace(Y, ports=(port,), external_policy="Local", health_check_node_port=31000)
    wanted = {"cluster IP": "-d 10.200.1.6/32", "node port": "--dport 30080", "health check": "--dport 31000"}
    text = rendered_nodes.iptables_text([X, gone], PROXIES["iptables"], "a")
    text = text.replace('"default/y"', '"default/y:web has no endpoints"')
    lines = [line for line in text.splitlines() if "default/y:web" not in line or wanted[of] in line]
    seen = NodeSnapshot("a", save.parse("\n".join(lines)))

    def leftovers(former: ServiceState) -> int:
        asked = Question("iptables", "IPv4", (X,), leftovers=LeftoverQuestion((X,), former=(former,)))
        return len(judge(seen, asked, NodePart(PROXIES["iptables"])).leftovers)

    assert (leftovers(gone), leftovers(replace(gone, name="z"))) == (1, 0)


@pytest.mark.parametrize("mode", PROXIES)
def test_leftovers_are_those_of_former_services_unless_all_services_are_known(mode: str) -> None:
    former = Question(mode, "IPv4", (X,), leftovers=LeftoverQuestion((X,), former=(Y,)))
    nobodys = Question(mode, "IPv4", (X,), leftovers=LeftoverQuestion((X,)))
    everything = Question(mode, "IPv4", (X,), leftovers=LeftoverQuestion((X,), others=()))

    def leftovers(asked: Question) -> bool:
        return bool(judge(node(mode, X, Y), asked, NodePart(PROXIES[mode])).leftovers)

    assert [leftovers(asked) for asked in (former, nobodys, everything)] == [True, False, True]


@pytest.mark.parametrize("mode", PROXIES)
def test_nodes_with_the_same_rules_have_the_same_digests_whatever_their_names(mode: str) -> None:
    asked = Question(mode, "IPv4", (X,))

    def digests(read: NodeSnapshot) -> tuple[str, str]:
        return digest(read, asked), judge(read, asked, NodePart(PROXIES[mode])).digest()

    right, same, wrong = (
        node(mode, X, Y),
        node(mode, X, name="b"),
        node(mode, replace(X, timeout_seconds=7), name="c"),
    )
    assert digests(right) == digests(same)
    assert digests(right)[0] != digests(wrong)[0]
    assert digests(right)[1] != digests(wrong)[1]


@pytest.mark.parametrize("mode", PROXIES)
def test_a_judgement_of_another_node_names_that_node(mode: str) -> None:
    read = node(mode, replace(X, timeout_seconds=7))
    found = judge(read, Question(mode, "IPv4", (X,)), NodePart(PROXIES[mode]))

    other = found.on("b", snapshot.of_another("b", read))

    assert {difference.node for difference in other.all_differences} == {"b"}
    assert other.digest() == found.digest()
    assert other.snapshot is not None
    assert other.snapshot.rules_only
    with pytest.raises(NodeError, match="not its affinity entries"):
        backends.of_mode(mode).affinity_entries(other.snapshot, X)


@pytest.mark.parametrize("mode", PROXIES)
def test_an_agent_reads_the_question_that_was_asked(mode: str) -> None:
    asked = Question(mode, "IPv4", (X, Y), (SENTINEL,), only_marked=True, leftovers=LeftoverQuestion((X,), (Y,)))
    part = part_of("a", replace(PROXIES[mode], zones={"a": "east", "b": "west"}), (Y,))

    assert answers.read_question(answers.question_text(asked)) == asked
    assert answers.read_part(answers.part_text(part)) == part
    assert part.proxy.zones == {"a": "east"}
    for text in ("", "{}", "[]", '{"mode": 1}'):
        with pytest.raises(NodeError, match="a question that cannot be read"):
            answers.read_question(text)
        with pytest.raises(NodeError, match="a question that cannot be read"):
            answers.read_part(text)
