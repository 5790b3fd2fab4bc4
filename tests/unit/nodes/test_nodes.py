"""Reads of nodes, on stand-ins for nodes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from session_affinity.dataplane import snapshot
from session_affinity.dataplane.judgement import NodePart, Question
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.deadlines import Deadlines
from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed
from session_affinity.nodes.nodes import Nodes


@dataclass
class FakeNode:
    """Prints what the read command does on a node; jiffies advance with time at 250 a second.

    ``late`` is how many seconds pass between its jiffies and its uptime, which is read after them.
    """

    name: str
    began: float = field(default_factory=time.monotonic)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    returncode: int = 0
    together: threading.Barrier | None = None
    late: float = 0.0
    chain: str = "KUBE-SERVICES"

    def run(self, argv: tuple[str, ...], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        assert timeout > 0
        assert stdin is None
        self.commands.append(tuple(argv))
        if self.together:
            self.together.wait(timeout=5)
        elapsed = time.monotonic() - self.began
        text = (
            f"@@affinity rules iptables-save\n*nat\n:{self.chain} - [0:0]\nCOMMIT\n"
            "@@affinity lists\n@@affinity clock\n"
            f"jiffies: {4295000000 + round(elapsed * 250)}\nuptime: {100 + elapsed + self.late:.2f}\n@@affinity end\n"
        )
        return Completed(self.name, tuple(argv), self.returncode, text, "no list" if self.returncode else "")


def nodes(*names: str, **changes: Any) -> tuple[Nodes, dict[str, FakeNode]]:
    made = {name: FakeNode(name, **changes) for name in names}
    return Nodes(made), made


def test_all_nodes_are_read_at_the_same_time() -> None:
    reader, _ = nodes("a", "b", "c", "d", together=threading.Barrier(4))

    states = reader.read()

    assert {name: state.node for name, state in states.items()} == {name: name for name in "abcd"}


def test_only_the_named_nodes_are_read() -> None:
    reader, made = nodes("a", "b")

    assert list(reader.read(["b"])) == ["b"]
    assert not made["a"].commands


def test_no_nodes_are_no_error() -> None:
    reader, _ = nodes()

    assert (reader.names, reader.read()) == ((), {})


def test_connections_are_read_on_request() -> None:
    reader, made = nodes("a")

    reader.read_one("a")
    reader.read_one("a", flows=True)

    assert made["a"].commands == [snapshot.READ_ARGV["IPv4"], snapshot.READ_WITH_FLOWS_ARGV["IPv4"]]


def test_a_node_is_read_with_the_program_that_had_kube_proxys_rules() -> None:
    reader, made = nodes("a")

    reader.read()
    reader.read_one("a")
    made["a"].chain = "KUBE-KUBELET-CANARY"
    reader.read_one("a")

    known = snapshot.READ_BY_ARGV["iptables-save"]
    assert made["a"].commands == [snapshot.READ_ARGV["IPv4"], known, known, snapshot.READ_ARGV["IPv4"]]


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_rules_are_judged_by_a_read_of_the_rules_alone(mode: str) -> None:
    reader, made = nodes("a")
    question, part = Question(mode, "IPv4", ()), NodePart(ProxyConfig(mode, None))

    for _ in range(2):
        judged = reader.judge(question, lambda _: part)

    first = snapshot.READ_RULES_ARGV[mode, "IPv4"]
    again = snapshot.READ_RULES_BY_ARGV["iptables-save"] if mode == "iptables" else first
    assert made["a"].commands == [first, again]
    state = judged["a"].snapshot
    assert state is not None
    assert state.rules_only == (mode == "iptables")


def test_the_same_nodes_are_read_in_another_family_by_the_same_clock() -> None:
    reader, made = nodes("a")
    made["a"].began -= 10
    reader.read()
    made["a"].began -= 2
    rate = reader.hz("a")
    before = len(made["a"].commands)

    other = reader.in_family("IPv6")
    other.read()

    assert (reader.family, other.family, other.hz("a")) == ("IPv4", "IPv6", rate)
    assert made["a"].commands[before:] == [snapshot.READ_ARGV["IPv6"]]


def test_a_late_sample_of_the_clock_is_made_up_for_by_a_longer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, made = nodes("a")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        made["a"].began -= seconds

    monkeypatch.setattr(time, "sleep", sleep)
    reader.read()
    made["a"].late = 0.15

    assert reader.hz("a") == 250
    assert sum(slept) == pytest.approx(4.0, abs=0.5)


def test_an_unknown_node_is_an_error_that_lists_the_known_ones() -> None:
    reader, _ = nodes("a", "b")

    with pytest.raises(NodeError, match=r"no access to node c\n  next: the cluster gives access to a, b"):
        reader.read_one("c")


def test_the_tick_rate_is_computed_once_from_the_first_read_and_a_later_one() -> None:
    reader, made = nodes("a")
    made["a"].began -= 10
    reader.read()
    made["a"].began -= 2

    assert reader.hz("a") == 250
    before = len(made["a"].commands)
    assert reader.hz("a") == 250
    assert len(made["a"].commands) == before


def test_lists_that_show_the_clock_are_stamped_in_every_family() -> None:
    reader, made = nodes("a")
    other = reader.in_family("IPv6")

    reader.use_as_clock(["KUBE-SEP-X"])
    other.read()

    assert "KUBE-SEP-X" in made["a"].commands[0]


def test_a_node_that_fails_is_missing_and_the_others_are_read() -> None:
    reader, made = nodes("a", "b")
    made["b"].returncode = 1

    states = reader.read()

    assert list(states.readable) == ["a"]
    assert reader.missing.keys() == {"b"}
    with pytest.raises(
        NodeError, match=r"nodes that this claim needs cannot be read: b: .*\n  next: .*--allow-missing"
    ):
        list(states)
    with pytest.raises(NodeError, match="cannot be read: b"):
        states["b"]
    assert states["a"].node == "a"


def test_a_node_that_answers_again_is_not_missing() -> None:
    reader, made = nodes("a", "b")
    made["b"].returncode = 1
    reader.read()
    made["b"].returncode = 0

    assert list(reader.read()) == ["a", "b"]
    assert reader.missing == {}


def test_some_of_the_nodes_miss_no_other_node() -> None:
    reader, made = nodes("a", "b")
    made["a"].returncode = made["b"].returncode = 1
    reader.read()

    assert reader.only(["a"]).missing.keys() == {"a"}


def test_as_many_nodes_may_be_missing_as_are_allowed() -> None:
    made = {name: FakeNode(name) for name in "ab"}
    reader = Nodes(made, missing={"c": "its agent was not Ready"}, allowed_missing=1)

    assert list(reader.read()) == ["a", "b"]
    assert list(reader.in_family("IPv6").read()) == ["a", "b"]
    made["b"].returncode = 1
    with pytest.raises(NodeError, match=r"c: its agent was not Ready; b: |b: .*; c: its agent was not Ready"):
        len(reader.read())


def test_nodes_without_access_count_only_for_claims_about_all_nodes() -> None:
    reader = Nodes({"a": FakeNode("a")}, missing={"c": "NotReady"})

    assert list(reader.read(["a"])) == ["a"]
    with pytest.raises(NodeError, match="c: NotReady"):
        list(reader.read())


class HangingNode(FakeNode):
    """Does not answer in time."""

    def run(self, argv: tuple[str, ...], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        assert stdin is None
        self.commands.append(tuple(argv))
        threading.Event().wait(timeout)
        raise NodeError(f"{self.name}: did not\n end in time", next_step="look")


def test_a_node_that_hangs_is_not_tried_again_for_a_while() -> None:
    hanging = HangingNode("b")
    deadlines = Deadlines(node_read=0.02, node_second_try=0.01, node_retry=60)
    reader = Nodes({"a": FakeNode("a"), "b": hanging}, deadlines=deadlines)

    reads = [reader.read() for _ in range(3)]

    assert len(hanging.commands) == 1
    assert [read.missing for read in reads] == [{"b": "did not end in time"}] * 3


def test_a_node_that_hung_gets_less_time_at_its_next_try() -> None:
    hanging = HangingNode("b")
    reader = Nodes({"b": hanging}, deadlines=Deadlines(node_read=0.5, node_second_try=0.01, node_retry=0))
    reader.read()
    began = time.monotonic()

    reader.read()

    assert len(hanging.commands) == 2
    assert time.monotonic() - began < 0.4
