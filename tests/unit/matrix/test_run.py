"""Which legs run where nobody says which."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ci.matrix import cli, run
from ci.matrix.legs import Leg
from session_affinity import versions
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.clusters.embedded.binaries.pins import Component

pytestmark = pytest.mark.unit

KNOWN = versions.load()


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the cache hold every component but Kubernetes, which it has of these minors."""
    minors = ["1.36", "1.37"]

    def find(_: Cache, component: Component) -> object:
        return component.name != "kubernetes" or component.version.rpartition(".")[0] in minors or None

    monkeypatch.setattr(run, "store", SimpleNamespace(find=find))
    return minors


def names(legs: tuple[Leg, ...]) -> list[str]:
    return [leg.name for leg in legs]


def test_versions_whose_programs_are_all_in_the_cache_are_available(cached: list[str]) -> None:
    assert run.available(KNOWN) == ("1.36", "1.37")
    cached.clear()
    assert run.available(KNOWN) == ()


def test_what_is_there_runs_in_every_mode_and_the_rest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert names(cli.legs_here(KNOWN, [], [])) == [
        f"{minor} {mode} embedded" for minor in ("1.36", "1.37") for mode in ("iptables", "nftables")
    ]
    assert "left out: 1.33, 1.34, 1.35; VERSIONS=all" in capsys.readouterr().out


def test_where_nothing_is_there_the_default_version_runs(cached: list[str]) -> None:
    cached.clear()

    assert {leg.kubernetes for leg in cli.legs_here(KNOWN, [], [])} == {KNOWN.default.minor}


def test_versions_that_are_asked_for_run_wherever_they_come_from() -> None:
    assert names(cli.legs_here(KNOWN, ["1.33"], ["nftables"])) == ["1.33 nftables embedded"]
    assert {leg.kubernetes for leg in cli.legs_here(KNOWN, ["all"], [])} == set(KNOWN.minors)


def test_a_version_that_is_not_supported_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1\.12"):
        cli.legs_here(KNOWN, ["1.12"], [])


def test_a_leg_is_told_in_a_line() -> None:
    assert run.LegRun(Leg("1.37", "iptables", "kind"), 0, 61.2).told == "1.37 iptables kind: all passed in 61 s"
    assert run.LegRun(Leg("1.37", "iptables", "kind"), -9, 1).told == "1.37 iptables kind: pytest ended with -9 in 1 s"
