"""Agents, the coordinator and the suite's side of them on loopback: what is believed, and what is found out."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import __version__
from session_affinity.agents import answers, node_agent
from session_affinity.agents.session import AgentHandshake, CallerRefusedError, CoordinatorHandshake, Identity, Secret
from session_affinity.dataplane import snapshot
from session_affinity.dataplane.judgement import Question, judge, part_of
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NodeError
from session_affinity.nodes.node import Completed
from session_affinity.nodes.nodes import Nodes
from session_affinity.testbed.testbed import NodeTestbed
from session_affinity.waiting import poll
from tests.scale import measure
from tests.scale.measure import NoAccess, services, stand_ins
from tests.scale.process_channel import LoopbackFleet, ProcessChannel
from tests.scale.stand_ins import Kind, printed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


PROXY = ProxyConfig("iptables", "10.10.0.0/16")
SECONDS = 60.0
"""For what takes a moment on a machine that has nothing else to do."""
LATE = Deadlines(node_read=3.0, node_second_try=3.0)


@pytest.fixture
def fleet() -> Iterator[LoopbackFleet]:
    made = LoopbackFleet()
    yield made
    made.close()


@contextlib.contextmanager
def running(fleet: LoopbackFleet, deadlines: Deadlines = LATE, **kinds: Kind) -> Iterator[NodeTestbed]:
    """Stand-ins of these kinds, once they are connected."""
    with stand_ins(fleet.reached_at(), kinds):
        require_agents(fleet, *kinds)
        yield measure.testbed_of(fleet, list(kinds), deadlines)


def require_agents(fleet: LoopbackFleet, *names: str) -> None:
    assert poll(lambda: fleet.connected(10.0).keys() >= set(names), SECONDS)


class Agent:
    """A real agent in a thread, on a node that has what a function prints."""

    def __init__(self, at: Secret, secret: bytes, node: str = "a", pod: str = "agent-a") -> None:
        self.commands: list[Sequence[str]] = []
        self.error: Exception | None = None
        self._connection = socket.create_connection((at.host, at.port), timeout=SECONDS)
        self._who = Identity(node, pod, __version__)
        self._thread = threading.Thread(target=self._serve, args=(secret,), daemon=True)
        self._thread.start()

    def run(self, argv: Sequence[str]) -> str:
        self.commands.append(argv)
        part: Any = part_of("a", measure.testbed_of(None, ["a"], LATE).proxy_of("a"))  # type: ignore[arg-type]
        return printed(Kind.RIGHT, services(), part)

    def _serve(self, secret: bytes) -> None:
        try:
            with self._connection.makefile("rb") as file:
                node_agent.serve(file, self._connection, secret, self._who, self.run)
        except (OSError, ValueError, CallerRefusedError) as error:
            self.error = error

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._thread.join(SECONDS)


def test_agents_find_what_the_suite_finds_in_the_same_rules(fleet: LoopbackFleet) -> None:
    with running(fleet, a=Kind.RIGHT, b=Kind.DIFFERENT, c=Kind.RIGHT, d=Kind.DIFFERENT) as testbed:
        judged = testbed.judge(services())

    for name, kind in (("a", Kind.RIGHT), ("b", Kind.DIFFERENT), ("c", Kind.RIGHT), ("d", Kind.DIFFERENT)):
        part = part_of(name, testbed.proxy_of(name))
        read = snapshot.parse(name, printed(kind, services(), part))
        here = judge(read, Question("iptables", "IPv4", services()), part)
        assert (judged[name].differences, judged[name].node) == (here.differences, name)
        assert bool(here.differences) is (kind is Kind.DIFFERENT)
        found = judged[name].snapshot
        assert found is not None
        backend = testbed.backend
        assert [backend.normalised(found, service) for service in services()] == [
            backend.normalised(read, service) for service in services()
        ]


def test_the_rules_of_another_node_have_no_affinity_entries(fleet: LoopbackFleet) -> None:
    with running(fleet, a=Kind.RIGHT, b=Kind.RIGHT) as testbed:
        judged = testbed.judge(services())

    for found in judged.values():
        assert found.snapshot is not None
        with pytest.raises(NodeError, match="not its affinity entries"):
            testbed.backend.affinity_entries(found.snapshot, services()[0])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.LYING, "its agent answered what its rules do not say: equal"),
        (Kind.STALE, "its agent answered what its rules do not say: it is the answer to another question"),
        (Kind.LATE, "its agent did not answer within 3 s"),
        (Kind.GONE, "its agent is gone: the connection to it ended"),
    ],
)
def test_an_agent_that_cannot_be_believed_costs_its_own_verdict_only(
    fleet: LoopbackFleet, kind: Kind, reason: str
) -> None:
    with running(fleet, a=Kind.RIGHT, odd=kind, b=Kind.DIFFERENT) as testbed:
        judged = testbed.judge(services())

    assert {name: bool(found.differences) for name, found in judged.readable.items()} == {"a": False, "b": True}
    assert judged.missing.keys() == {"odd"}
    assert judged.missing["odd"].startswith(reason)
    assert testbed.nodes.missing == judged.missing


def test_an_agent_that_copies_the_digest_of_others_is_found_out_when_its_rules_are_asked_for(
    fleet: LoopbackFleet,
) -> None:
    with running(fleet, a=Kind.RIGHT, odd=Kind.COPYING) as testbed:
        missing = [testbed.judge(services()).missing for _ in range(2)]

    # The node whose rules are sent is another one at each reading.
    assert any(each.keys() == {"odd"} for each in missing)
    assert not any("a" in each for each in missing)


def test_a_killed_agent_is_missing_until_its_successor_is_connected(fleet: LoopbackFleet) -> None:
    at = fleet.reached_at()
    first, other = Agent(at, at.secret), Agent(at, at.secret, "b")
    require_agents(fleet, "a", "b")
    testbed = measure.testbed_of(fleet, ["a", "b"], LATE)
    assert testbed.judge(services()).missing == {}

    first.kill()
    without = testbed.judge(services())
    second = Agent(at, at.secret)
    require_agents(fleet, "a", "b")
    again = testbed.judge(services())
    for agent in (second, other):
        agent.kill()

    assert list(without.readable) == ["b"]
    assert without.missing.keys() == {"a"}
    assert (list(again.readable), again.missing) == (["a", "b"], {})


def test_an_agent_does_not_take_the_place_of_its_successor(fleet: LoopbackFleet) -> None:
    """A pod that was deleted by force runs on for seconds, and connects again as soon as it is replaced."""
    at = fleet.reached_at()
    with contextlib.ExitStack() as agents:

        def start(pod: str) -> Agent:
            agent = Agent(at, at.secret, pod=pod)
            agents.callback(agent.kill)
            return agent

        start("first")
        assert poll(lambda: fleet.connected(10.0) == {"a": "first"}, SECONDS)
        second = start("second")
        assert poll(lambda: fleet.connected(10.0) == {"a": "second"}, SECONDS)

        again = start("first")
        assert poll(lambda: again.error is not None, SECONDS)
        assert fleet.connected(10.0) == {"a": "second"}
        assert fleet.refused(10.0) == {"first on a: its successor second is connected": 1}

        second.kill()
        start("first")
        assert poll(lambda: fleet.connected(10.0) == {"a": "first"}, SECONDS)


def test_a_caller_without_the_secret_is_asked_nothing_and_told_nothing(fleet: LoopbackFleet) -> None:
    at = fleet.reached_at()
    agent = Agent(at, bytes(32))

    assert poll(lambda: fleet.refused(10.0), SECONDS)

    assert fleet.connected(10.0) == {}
    assert list(fleet.refused(10.0)) == ["an agent that calls itself that of a does not have the secret of the run"]
    assert agent.commands == []
    agent.kill()


def test_an_agent_obeys_no_coordinator_without_the_secret() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        agent = Agent(Secret("127.0.0.1", listening.getsockname()[1], b""), b"s" * 32)
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as file:
            connection.sendall(b'{"version": "%s", "nonce": "1"}\n' % __version__.encode())
            file.readline()
            connection.sendall(b'{"mac": "guessed"}\n')
            assert poll(lambda: agent.error, SECONDS)
    agent.kill()

    assert isinstance(agent.error, CallerRefusedError)
    assert agent.error.what == "a coordinator does not have the secret of the run"
    assert agent.commands == []


def test_agents_come_back_to_the_next_coordinator(fleet: LoopbackFleet) -> None:
    at = fleet.reached_at()
    agent = Agent(at, at.secret)
    require_agents(fleet, "a")

    fleet.channels[0].process.kill()
    fleet.channels[0].process.wait(10)
    assert fleet.connected(10.0) == {}

    assert len(fleet.channels) == 2
    assert fleet.traffic.connections == 2
    agent.kill()


@dataclass(frozen=True)
class Readable:
    """A node on which commands can be run: it prints what a node with the right rules does."""

    name: str

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        part = part_of(self.name, PROXY)
        return Completed(self.name, tuple(argv), 0, printed(Kind.RIGHT, services(), part), "")


def test_nodes_are_read_one_by_one_when_the_coordinators_node_is_lost(
    fleet: LoopbackFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> ProcessChannel:
        raise ClusterError("agent-coordinator: Connection timed out")

    fleet.reached_at()
    fleet.channels[0].process.kill()
    fleet.channels[0].process.wait(10)
    monkeypatch.setattr(fleet, "_connect", refuse)
    nodes = Nodes({"a": Readable("a"), "b": NoAccess("b")}, fleet=fleet, allowed_missing=1)
    testbed = NodeTestbed(nodes, ProxyConfigs(default=PROXY))

    judged = testbed.judge(services())

    assert fleet.lost == "agent-coordinator: Connection timed out"
    assert judged["a"].is_equal
    assert judged["a"].snapshot is not None
    assert judged["a"].snapshot.program == "iptables-save"
    assert judged.missing.keys() == {"b"}
    assert list(nodes.read().readable) == ["a"]


def test_an_agent_answers_no_question_but_its_own() -> None:
    with pytest.raises(NodeError, match="a: an agent answers no 'run'"):
        answers.answer("a", {"op": "run", "argv": ["id"]}, b"", lambda _: "")
    with pytest.raises(NodeError, match="lists that are none"):
        answers.answer("a", {"op": "read", "family": "IPv4", "clock": ["x; reboot"]}, b"", lambda _: "")


def test_nodes_are_read_through_agents_without_a_connection_of_their_own(fleet: LoopbackFleet) -> None:
    at = fleet.reached_at()
    agent = Agent(at, at.secret)
    require_agents(fleet, "a")
    nodes = Nodes({"a": NoAccess("a")}, fleet=fleet, missing={"b": "NotReady"})

    states, pages = nodes.read(), nodes.pages()
    agent.kill()

    assert list(states.readable) == ["a"]
    assert states.missing == {"b": "NotReady"}
    assert states.readable["a"].program == "iptables-save"
    assert pages["a"].startswith("@@affinity rules")
    assert agent.commands == [snapshot.READ_ARGV["IPv4"], answers.PAGES_ARGV]


def test_a_handshake_with_another_version_says_which_image_to_use() -> None:
    coordinator, agent = CoordinatorHandshake(b"s", "2"), AgentHandshake(b"s", Identity("a", "pod", "1"))

    with pytest.raises(
        CallerRefusedError, match=r"a: its agent is of version 1, and the coordinator of 2\n  next: --agent"
    ):
        coordinator.accept(agent.reply(coordinator.greeting()))
