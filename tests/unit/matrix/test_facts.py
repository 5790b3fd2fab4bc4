"""The facts of each leg, and those that all legs share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci.matrix import facts
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

OLD, NEW = Leg("1.36", "iptables", "kind"), Leg("1.37", "iptables", "kind")


def write_run(directory: Path, leg: Leg, properties: str | None) -> Path:
    labels = [{"name": name, "value": value} for name, value in {"claim": "C10", **leg.labels}.items()]
    directory.mkdir()
    (directory / "x-result.json").write_text(json.dumps({"uuid": "x", "status": "passed", "labels": labels}))
    if properties is not None:
        (directory / facts.FILE).write_text(properties)
    return directory


def test_each_leg_has_the_facts_beside_its_results(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a", OLD, "Kubernetes = v1.36.4\noperating_system = Debian = 12\nseconds_nodes = 1.0\n"),
        write_run(tmp_path / "b", NEW, None),
    ]

    assert facts.of_legs(paths) == {OLD: {"Kubernetes": "v1.36.4", "operating system": "Debian = 12"}, NEW: {}}


def test_the_facts_of_all_legs_are_the_equal_ones() -> None:
    shared = facts.shared(
        {NEW: {"Kubernetes": "v1.37.2", "kernel": "6.18"}, OLD: {"Kubernetes": "v1.36.4", "kernel": "6.18"}}
    )

    assert shared == {"legs": "1.36 iptables kind, 1.37 iptables kind", "kernel": "6.18"}


def test_facts_are_written_as_they_are_read(tmp_path: Path) -> None:
    facts_of_run = {"operating system": "Debian", "kernel": "6.18"}

    assert facts.of_legs([write_run(tmp_path / "a", OLD, facts.properties(facts_of_run))]) == {OLD: facts_of_run}
