"""When a node starts its programs, and how often it checks the conditions of their start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.node_init import LONGEST_PAUSE_SECONDS, NodeInit
from session_affinity.clusters.embedded.process import Gate, Process
from session_affinity.clusters.embedded.state import STATE_VARIABLE, StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

API = Gate("ready", "172.30.0.2:6443")
IMPORTED = Gate("done", "import-images")


@pytest.fixture
def gate_states(monkeypatch: pytest.MonkeyPatch) -> dict[Gate, list[bool]]:
    """The results of checking each gate, the last one first; a gate without results must not be checked."""
    states: dict[Gate, list[bool]] = {}
    monkeypatch.setattr(Gate, "is_open", lambda gate, _: states[gate].pop())
    return states


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeInit:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    layout = Layout("unit", "1.37.2", "iptables", {}, "images.tar", node_layouts("unit"))
    return NodeInit(layout, layout.nodes[1], StateDirectory("unit"), ClusterCgroups("unit"))


def test_a_gate_is_checked_once_for_all_programs_that_wait_for_it(
    node: NodeInit, gate_states: dict[Gate, list[bool]]
) -> None:
    kubelet, proxy = Process("kubelet", (), after=(IMPORTED, API)), Process("kube-proxy", (), after=(API,))
    gate_states |= {API: [True, False], IMPORTED: [False, False]}

    assert node._ready([kubelet, proxy]) == []
    assert node._ready([kubelet, proxy]) == [proxy]
    assert gate_states == {API: [], IMPORTED: []}


def test_an_open_gate_is_not_checked_again(node: NodeInit, gate_states: dict[Gate, list[bool]]) -> None:
    kubelet = Process("kubelet", (), after=(IMPORTED, API))
    gate_states |= {API: [True], IMPORTED: [True, False]}

    assert node._ready([kubelet]) == []
    assert node._ready([kubelet]) == [kubelet]


def test_a_program_without_gates_is_started_at_once(node: NodeInit) -> None:
    containerd = Process("containerd", ())

    assert node._ready([containerd]) == [containerd]


def test_a_killed_program_is_restarted_and_one_that_exited_is_not(
    node: NodeInit, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(node, "_start", lambda process: started.append(process.name))
    statuses = {"kube-proxy": 9, "kubelet": 1 << 8}  # killed by signal 9; ended with code 1
    for pid, (name, status) in enumerate(statuses.items(), 100):
        node._running[pid] = Process(name, ())
        node._records[name] = {}
        children = iter([(pid, status), (0, 0)])
        monkeypatch.setattr("os.waitpid", lambda *_, children=children: next(children))
        monkeypatch.setattr(node, "_write_records", lambda: None)
        node._reap()

    node._restart_killed()
    node._restart_killed()

    assert started == ["kube-proxy"]


def test_a_program_that_is_restarted_waits_longer_each_time_and_starts_anew_after_a_long_run(
    node: NodeInit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause doubles up to the longest one, whatever ended the program."""
    program = Process("node-program", (), restart=True)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.time", lambda: clock[0])
    monkeypatch.setattr(node, "_write_records", lambda: None)
    monkeypatch.setattr("pathlib.Path.open", lambda *_: open("/dev/null", "a"))  # noqa: SIM115, PTH123
    pauses = []
    for seconds, code in ((0, 1), (1, 1), (1, -9), (1, 0), (1, 1), (LONGEST_PAUSE_SECONDS, 1)):
        node._records["node-program"] = {"started": clock[0] - seconds}
        node._ended(program, code)
        pauses.append(node._restarts["node-program"].pause)
        before_due = node._ready(node._waiting)
        clock[0] = node._restarts["node-program"].due
        assert (before_due, node._ready(node._waiting)) == ([], [program])
        node._waiting.clear()

    assert pauses == [1, 2, 4, 8, 10, 1]
    assert node._restarts["node-program"].number == 6
    assert node._killed == {}


@pytest.mark.parametrize(("code", "is_restarted"), [(2, True), (1, False), (-9, False)])
def test_a_program_that_panics_is_restarted_and_one_that_ends_otherwise_is_not(
    node: NodeInit, monkeypatch: pytest.MonkeyPatch, *, code: int, is_restarted: bool
) -> None:
    program = Process("kube-proxy", (), restart_after_panic=True)
    monkeypatch.setattr(node, "_write_records", lambda: None)
    node._state.create((node._node.name,))

    node._ended(program, code)

    assert node._waiting == [program] * is_restarted
    assert list(node._killed) == ["kube-proxy"] * (code < 0)


def test_a_program_that_cannot_be_started_says_why_in_its_log_and_is_tried_again(node: NodeInit) -> None:
    program = Process("node-program", ("/nowhere/agent",), restart=True)
    node._state.create((node._node.name,))

    node._start(program)

    log = node._state.log(node._node.name, "node-program").read_text()
    assert "node-program cannot be started: [Errno 2] No such file or directory: '/nowhere/agent'" in log
    assert node._state.read_node_processes(node._node.name)["node-program"]["code"] == 127
    assert node._waiting == [program]
