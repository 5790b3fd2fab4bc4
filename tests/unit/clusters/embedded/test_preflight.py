"""What a machine lacks is named, with how to get it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import preflight
from session_affinity.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from session_affinity.dataplane.model import Family


@pytest.fixture
def fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything."""
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(preflight.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(preflight.cgroups, "require_controllers", lambda: None)
    monkeypatch.setattr(preflight, "_require_overlay", lambda: None)
    monkeypatch.setattr(preflight, "_require_inotify", lambda _: None)
    monkeypatch.setattr(preflight.subprocess, "run", _answering(0, ""))


def _answering(code: int, stderr: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(argv: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, code, "", stderr)

    return run


@pytest.mark.usefixtures("fine")
def test_a_machine_with_everything_passes() -> None:
    preflight.check("iptables")
    preflight.check("nftables")
    preflight.check("iptables", families=("IPv4", "IPv6"))


@pytest.mark.usefixtures("fine")
def test_a_user_who_is_not_root_is_told_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)

    with pytest.raises(PreflightError, match="needs root") as caught:
        preflight.check("iptables")

    assert "sudo" in caught.value.next_step


@pytest.mark.usefixtures("fine")
def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"nsenter", "unshare", "mount", "ip", "curl"}
    monkeypatch.setattr(preflight.shutil, "which", lambda name: name if name in there else None)

    with pytest.raises(PreflightError, match="not found: iptables, ") as caught:
        preflight.check("nftables")

    assert "apt-get install iptables conntrack nftables" in caught.value.next_step


@pytest.mark.usefixtures("fine")
def test_a_kernel_feature_that_is_refused_is_named_with_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.subprocess, "run", _answering(1, "Couldn't load match `recent'\nmore"))

    with pytest.raises(PreflightError, match=r"xt_recent .*Couldn't load match") as caught:
        preflight.check("iptables")

    assert "more" not in caught.value.what


@pytest.mark.usefixtures("fine")
@pytest.mark.parametrize("families", [("IPv6",), ("IPv4", "IPv6")])
def test_a_kernel_without_ipv6_is_named_where_it_is_needed(
    families: tuple[Family, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "_IPV6_SETTINGS", tmp_path / "none")

    preflight.check("iptables")
    with pytest.raises(PreflightError, match="IPv6 is disabled in this kernel") as caught:
        preflight.check("iptables", families=families)

    assert "--ip-family ipv4" in caught.value.next_step


@pytest.mark.usefixtures("fine")
def test_missing_ip6tables_are_named_where_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = ("ip6tables-save", "ip6tables-restore")
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None if name in lacking else name)

    preflight.check("iptables")
    with pytest.raises(PreflightError, match="not found: ip6tables-save, ip6tables-restore"):
        preflight.check("iptables", families=("IPv6",))


@pytest.mark.usefixtures("fine")
@pytest.mark.parametrize(("mode", "named"), [("iptables", "the ip6tables match"), ("nftables", "family ip6")])
def test_ipv6_features_are_tried_where_they_are_needed(mode: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.subprocess, "run", _answering(1, "no"))

    with pytest.raises(PreflightError) as ipv4:
        preflight.check(mode)
    with pytest.raises(PreflightError) as dual:
        preflight.check(mode, families=("IPv4", "IPv6"))

    assert named not in ipv4.value.what
    assert named in dual.value.what


def test_a_limit_on_watching_that_is_nearly_reached_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "limit"
    monkeypatch.setattr(preflight, "_INOTIFY_LIMIT", limit)

    limit.write_text("2000\n")
    preflight._require_inotify(4)
    limit.write_text("10\n")
    with pytest.raises(PreflightError, match=r"of 10 inotify instances .* 4 nodes needs about 52 more") as caught:
        preflight._require_inotify(4)

    assert "sysctl -w fs.inotify.max_user_instances" in caught.value.next_step
