"""The command line of embedded clusters, as far as it starts none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.cli import embedded_clusters, main
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    import pytest


def test_a_cluster_that_cannot_be_read_keeps_no_other_from_being_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(name: str) -> None:
        if name == "old":
            raise ClusterError("layout.json: not written by this version", next_step="take it down")

    monkeypatch.setattr(embedded_clusters, "cluster_names", lambda: ("old", "gone"))
    monkeypatch.setattr(embedded_clusters.clusters, "find", find)

    assert main(["cluster", "status"]) == 1
    assert capsys.readouterr().out == (
        "old: layout.json: not written by this version\n  next: take it down\ngone: not running\n"
    )


def test_an_ip_family_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "up", "--ip-family", "ipx"]) == 4

    assert "'ipv4', 'ipv6', 'dual'" in capsys.readouterr().err
