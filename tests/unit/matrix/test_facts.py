"""What legs ran on, told of each, and what they have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci.matrix import facts
from ci.matrix.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

OLD, NEW = Leg("1.36", "iptables", "kind"), Leg("1.37", "iptables", "kind")


def ran(directory: Path, leg: Leg, told: str | None) -> Path:
    labels = {"claim": "C10", "k8s": leg.kubernetes, "proxy": leg.proxy_mode, "provider": leg.provider}
    listed = [{"name": name, "value": value} for name, value in labels.items()]
    directory.mkdir()
    (directory / "x-result.json").write_text(json.dumps({"uuid": "x", "status": "passed", "labels": listed}))
    if told is not None:
        (directory / facts.FILE).write_text(told)
    return directory


def test_each_leg_has_the_facts_beside_its_results(tmp_path: Path) -> None:
    paths = [
        ran(tmp_path / "a", OLD, "Kubernetes = v1.36.4\noperating_system = Debian = 12\nseconds_nodes = 1.0\n"),
        ran(tmp_path / "b", NEW, None),
    ]

    assert facts.of_legs(paths) == {OLD: {"Kubernetes": "v1.36.4", "operating system": "Debian = 12"}, NEW: {}}


def test_of_all_legs_only_what_is_the_same_is_told() -> None:
    told = facts.shared(
        {NEW: {"Kubernetes": "v1.37.2", "kernel": "6.18"}, OLD: {"Kubernetes": "v1.36.4", "kernel": "6.18"}}
    )

    assert told == {"legs": "1.36 iptables kind, 1.37 iptables kind", "kernel": "6.18"}


def test_facts_are_written_as_they_are_read(tmp_path: Path) -> None:
    told = {"operating system": "Debian", "kernel": "6.18"}

    assert facts.of_legs([ran(tmp_path / "a", OLD, facts.properties(told))]) == {OLD: told}
