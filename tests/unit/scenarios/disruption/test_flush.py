"""A flushed node that is watched in the background."""

from __future__ import annotations

import time
from typing import Any

import pytest

from session_affinity.dataplane.model import CLIENT_IP, ServicePort, ServiceState
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.errors import ClusterError, NodeError
from session_affinity.nodes.node import Completed
from session_affinity.scenarios.disruption.flush import CANARIES_SECONDS, Flush

pytestmark = pytest.mark.unit
SERVICE = ServiceState("default", "flushed", ("10.200.1.5",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000),))


class World:
    """A testbed, its nodes and its kube-proxies: the node's rules differ at the first ``wrong`` reads."""

    sync_seconds = 0.5
    mode = "iptables"

    def __init__(self, wrong: int, error: Exception | None = None) -> None:
        self.nodes = self.backend = self
        self.journal: list[str] = []
        self.wrong = wrong
        self.error = error

    def sync_period(self, _: str) -> float:
        return 0.0

    def started(self, _: str) -> float:
        return 7.0

    def cut_off(self, node: str) -> bool:
        self.journal.append(f"cut off {node}")
        return True

    def idle_seconds(self, _: str) -> float:
        return 6.0

    def wait_until_idle(self, node: str) -> None:
        self.journal.append(f"wait for {node}")

    def connect(self, node: str, *, before: float) -> None:
        assert before == 7.0
        self.journal.append(f"connect {node}")

    def run(self, node: str, argv: tuple[str, ...]) -> Completed:
        self.journal.append(" ".join(argv[3:]))
        return Completed(node, argv, 0, "", "")

    def read_one(self, node: str) -> NodeSnapshot:
        return NodeSnapshot(node, program="iptables-save")

    def compare(self, *_: object) -> tuple[str, ...]:
        if self.error:
            raise self.error
        self.wrong -= 1
        return ("differs",) if self.wrong >= 0 else ()


def flush(wrong: int = 0, error: Exception | None = None) -> Flush:
    world: Any = World(wrong, error)
    return Flush(world, world, SERVICE, "worker")


def test_the_node_is_watched_until_its_rules_are_restored() -> None:
    repair = flush(wrong=2).start().result()

    assert (repair.node, repair.differences) == ("worker", ())


def test_a_node_is_cut_off_before_the_flush_and_connected_when_it_is_over() -> None:
    world: Any = World(2)

    repair = Flush(world, world, SERVICE, "worker", tables=("nat",), quiet=True).start().result()

    assert repair.quiet
    assert world.journal == [
        "cut off worker",
        "wait for worker",
        "flush iptables-save iptables-restore nat",
        "connect worker",
    ]


def test_a_node_that_cannot_be_cut_off_for_long_enough_is_not_quiet() -> None:
    world: Any = World(2)
    world.sync_seconds = 60.0

    repair = Flush(world, world, SERVICE, "worker", quiet=True).start().result()

    assert not repair.quiet
    assert world.journal == ["flush iptables-save iptables-restore mangle nat filter"]


@pytest.mark.parametrize(
    ("until_idle", "answers", "reads"),
    [
        pytest.param(True, [False, False, True], 3, id="it-becomes-idle"),
        pytest.param(True, [False] * 200, 101, id="it-never-is"),
        pytest.param(True, [NodeError("no answer")] * 200, 101, id="it-does-not-say"),
        pytest.param(False, [True] * 200, 101, id="more-than-a-sync-could-restore-them"),
    ],
)
def test_rules_that_only_a_sync_could_restore_are_watched_until_none_is_to_come(
    answers: list[bool | Exception], reads: int, monkeypatch: pytest.MonkeyPatch, *, until_idle: bool
) -> None:
    """After the time in which kube-proxy notices a flush, and at most for the time of a sync, here 50 s."""
    now, late_reads = 100.0, 0
    noticed = now + CANARIES_SECONDS
    left = iter(answers)
    world: Any = World(1000)
    world.sync_seconds = 50.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def is_idle() -> bool:
        assert now >= noticed, "asked before kube-proxy has noticed the flush"
        if isinstance(answer := next(left), Exception):
            raise answer
        return answer

    def compare(*_: object) -> tuple[str, ...]:
        nonlocal late_reads
        late_reads += now >= noticed
        return ("differs",)

    world.idle_check, world.compare = lambda _: is_idle, compare
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)

    repair = Flush(world, world, SERVICE, "worker", until_idle=until_idle).start().result()

    assert [*map(str, repair.differences)] == ["differs"]
    assert (late_reads, repair.took) == (reads, CANARIES_SECONDS + (reads - 1) / 2)


def test_a_result_before_the_start_is_an_error() -> None:
    with pytest.raises(ClusterError, match=r"rules of worker were not flushed: call start\(\) before result\(\)"):
        flush().result()


def test_joining_before_the_start_is_no_error() -> None:
    flush().join()


def test_an_error_of_the_suite_is_raised_unchanged() -> None:
    with pytest.raises(NodeError, match="the rules of default/flushed are still there after 3 flushes"):
        flush(wrong=0).start().result()


def test_a_node_whose_rules_were_written_again_before_it_was_read_is_flushed_again() -> None:
    world: Any = World(0)
    flushed, differences = 0, iter([(), ("differs",), ()])

    def run(node: str, argv: tuple[str, ...]) -> Completed:
        nonlocal flushed
        flushed += 1
        return Completed(node, argv, 0, "", "")

    world.run, world.compare = run, lambda *_: next(differences)

    assert Flush(world, world, SERVICE, "worker").start().result().differences == ()
    assert flushed == 2


def test_any_other_error_becomes_one_that_names_the_node() -> None:
    watched = flush(error=TypeError("a bug")).start()
    watched.join()

    with pytest.raises(ClusterError, match=r"worker could not be watched .*TypeError\('a bug'\)") as caught:
        watched.result()
    assert isinstance(caught.value.__cause__, TypeError)
