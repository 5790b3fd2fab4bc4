"""What API servers create at their first start: its file, and what a cluster waits for that begins with it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import bootstrap_policy
from session_affinity.clusters.embedded.configuration import processes_of
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.state import STATE_VARIABLE, StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = {"/registry/clusterroles/edit": base64.b64encode(b"\x6b8s\x00").decode()}
PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    *("containerd", "ctr"),
)
LAYOUT = Layout("mine", "1.37.2", "iptables", {name: f"/{name}" for name in PROGRAMS}, "", node_layouts("mine", 1))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "1.37.2.json"

    bootstrap_policy.write(file, OBJECTS)

    assert bootstrap_policy.read(file) == OBJECTS


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "1", '{"/registry/clusterroles/edit": 1}', '{"/registry/clusterroles/edit": "\u00fc"}'),
        '{"/registry/secrets/default/mine": "azhzAA=="}',
    ],
)
def test_a_file_that_cannot_be_used_is_like_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "1.37.2.json"
    file.write_text(text)

    assert bootstrap_policy.read(file) == {}


def test_no_file_has_nothing(tmp_path: Path) -> None:
    assert bootstrap_policy.read(tmp_path / "1.37.2.json") == {}


@pytest.mark.parametrize(
    ("is_known", "waiting"),
    [
        (False, {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}),
        (True, {"kube-controller-manager"}),
    ],
)
def test_programs_wait_for_rbac_rules_that_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known: bool, waiting: set[str]
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    layout = replace(LAYOUT, policy_is_known=is_known)

    processes = processes_of(layout, layout.control_plane, StateDirectory("mine"))

    gated = {process.name: gate.path for process in processes for gate in process.after if gate.kind == "ready"}
    assert {name for name, path in gated.items() if path == "/readyz"} == waiting
    assert gated.keys() == {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}


def test_all_programs_wait_for_their_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    state = StateDirectory("mine")

    processes = processes_of(LAYOUT, LAYOUT.control_plane, state)

    assert all(str(state.configured) in {gate.target for gate in process.after} for process in processes)
