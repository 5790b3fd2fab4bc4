"""Which legs make matrix runs by default, and the line of a finished leg."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ci.matrix import cli, run
from session_affinity import versions
from session_affinity.errors import UsageError
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.clusters.embedded.binaries.pins import Component

pytestmark = pytest.mark.unit

SUPPORTED = versions.load()


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the cache have every component, but of Kubernetes only these minor versions."""
    minors = ["1.36", "1.37"]

    def find(_: Cache, component: Component) -> object:
        return component.name != "kubernetes" or component.version.rpartition(".")[0] in minors or None

    monkeypatch.setattr(run, "store", SimpleNamespace(find=find))
    return minors


def names(legs: tuple[Leg, ...]) -> list[str]:
    return [leg.name for leg in legs]


def test_a_version_is_cached_when_all_its_programs_are(cached: list[str]) -> None:
    assert run.cached_minors(SUPPORTED) == ("1.36", "1.37")
    cached.clear()
    assert run.cached_minors(SUPPORTED) == ()


def test_cached_versions_run_in_every_mode_and_the_newest_also_dual_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert names(cli.embedded_legs(SUPPORTED, [], [], [])) == [
        "1.36 iptables embedded",
        "1.36 nftables embedded",
        "1.37 iptables embedded",
        "1.37 nftables embedded",
        "1.37 iptables embedded dual",
        "1.37 nftables embedded dual",
    ]
    assert "not in the cache: 1.33, 1.34, 1.35; VERSIONS=all" in capsys.readouterr().out


def test_the_default_version_runs_when_none_is_cached(cached: list[str]) -> None:
    cached.clear()

    assert {leg.kubernetes for leg in cli.embedded_legs(SUPPORTED, [], [], [])} == {SUPPORTED.default.minor}


def test_requested_versions_run_whether_cached_or_not() -> None:
    assert names(cli.embedded_legs(SUPPORTED, ["1.33"], ["nftables"], [])) == [
        "1.33 nftables embedded",
        "1.33 nftables embedded dual",
    ]
    assert {leg.kubernetes for leg in cli.embedded_legs(SUPPORTED, ["all"], [], [])} == set(SUPPORTED.minors)


def test_a_version_that_is_not_supported_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1\.12"):
        cli.embedded_legs(SUPPORTED, ["1.12"], [], [])


def test_a_finished_leg_has_a_line() -> None:
    assert run.LegRun(Leg("1.37", "iptables", "kind"), 0, 61.2).line == "1.37 iptables kind: all passed in 61 s"
    assert run.LegRun(Leg("1.37", "iptables", "kind"), -9, 1).line == "1.37 iptables kind: pytest exited with -9 in 1 s"
