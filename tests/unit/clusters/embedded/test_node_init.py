"""What a node starts when, and how often it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.node_init import NodeInit
from session_affinity.clusters.embedded.process import Gate, Process
from session_affinity.clusters.embedded.state import STATE_VARIABLE, StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

API = Gate("ready", "172.30.0.2:6443")
IMPORTED = Gate("done", "import-images")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[Gate, list[bool]]:
    """The answers each gate will give, the last first; a gate without answers must not be asked."""
    answers: dict[Gate, list[bool]] = {}
    monkeypatch.setattr(Gate, "is_open", lambda gate, _: answers[gate].pop())
    return answers


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeInit:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    layout = Layout("unit", "1.37.2", "iptables", {}, "images.tar", node_layouts("unit"))
    return NodeInit(layout, layout.nodes[1], StateDirectory("unit"), ClusterCgroups("unit"))


def test_a_gate_is_asked_once_however_many_wait_for_it(node: NodeInit, asked: dict[Gate, list[bool]]) -> None:
    kubelet, proxy = Process("kubelet", (), after=(IMPORTED, API)), Process("kube-proxy", (), after=(API,))
    asked |= {API: [True, False], IMPORTED: [False, False]}

    assert node._ready([kubelet, proxy]) == []
    assert node._ready([kubelet, proxy]) == [proxy]
    assert asked == {API: [], IMPORTED: []}


def test_an_open_gate_is_not_asked_again(node: NodeInit, asked: dict[Gate, list[bool]]) -> None:
    kubelet = Process("kubelet", (), after=(IMPORTED, API))
    asked |= {API: [True], IMPORTED: [True, False]}

    assert node._ready([kubelet]) == []
    assert node._ready([kubelet]) == [kubelet]


def test_what_waits_for_nothing_is_started_at_once(node: NodeInit) -> None:
    containerd = Process("containerd", ())

    assert node._ready([containerd]) == [containerd]


def test_what_was_killed_is_started_again_and_what_ended_by_itself_is_not(
    node: NodeInit, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(node, "_start", lambda process: started.append(process.name))
    statuses = {"kube-proxy": 9, "kubelet": 1 << 8}  # killed by signal 9; ended with code 1
    for pid, (name, status) in enumerate(statuses.items(), 100):
        node._running[pid] = Process(name, ())
        node._record[name] = {}
        ended = iter([(pid, status), (0, 0)])
        monkeypatch.setattr("os.waitpid", lambda *_, ended=ended: next(ended))
        monkeypatch.setattr(node, "_write_record", lambda: None)
        node._reap()

    node._start_again()
    node._start_again()

    assert started == ["kube-proxy"]
