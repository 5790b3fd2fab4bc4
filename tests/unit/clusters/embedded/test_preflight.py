"""The preflight checks name what a machine lacks and how to get it."""

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
def complete_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything."""
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(preflight.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(preflight.cgroups, "require_controllers", lambda: None)
    monkeypatch.setattr(preflight, "_require_overlay", lambda: None)
    monkeypatch.setattr(preflight, "_require_inotify", lambda _: None)
    monkeypatch.setattr(preflight.subprocess, "run", _run_with(0, ""))


def _run_with(code: int, stderr: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(argv: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, code, "", stderr)

    return run


@pytest.mark.usefixtures("complete_machine")
def test_a_machine_with_everything_passes() -> None:
    preflight.check("iptables")
    preflight.check("nftables")
    preflight.check("iptables", families=("IPv4", "IPv6"))


@pytest.mark.usefixtures("complete_machine")
def test_running_without_root_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)

    with pytest.raises(PreflightError, match="needs root") as caught:
        preflight.check("iptables")

    assert "sudo" in caught.value.next_step


@pytest.mark.usefixtures("complete_machine")
def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"nsenter", "unshare", "mount", "ip", "curl"}
    monkeypatch.setattr(preflight.shutil, "which", lambda name: name if name in installed else None)

    with pytest.raises(PreflightError, match="not found on PATH: iptables, ") as caught:
        preflight.check("nftables")

    assert "apt-get install iptables conntrack nftables" in caught.value.next_step


@pytest.mark.usefixtures("complete_machine")
def test_a_missing_kernel_feature_is_named_with_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.subprocess, "run", _run_with(1, "Couldn't load match `recent'\nmore"))

    with pytest.raises(PreflightError, match=r"xt_recent .*Couldn't load match") as caught:
        preflight.check("iptables")

    assert "more" not in caught.value.what


@pytest.mark.usefixtures("complete_machine")
@pytest.mark.parametrize("families", [("IPv6",), ("IPv4", "IPv6")])
def test_a_kernel_without_ipv6_is_refused_when_the_cluster_needs_ipv6(
    families: tuple[Family, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "_IPV6_SETTINGS", tmp_path / "none")

    preflight.check("iptables")
    with pytest.raises(PreflightError, match="IPv6 is disabled in this kernel") as caught:
        preflight.check("iptables", families=families)

    assert "--ip-family ipv4" in caught.value.next_step


@pytest.mark.usefixtures("complete_machine")
def test_missing_ip6tables_programs_are_named_when_the_cluster_needs_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ("ip6tables-save", "ip6tables-restore")
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None if name in missing else name)

    preflight.check("iptables")
    with pytest.raises(PreflightError, match="not found on PATH: ip6tables-save, ip6tables-restore"):
        preflight.check("iptables", families=("IPv6",))


@pytest.mark.usefixtures("complete_machine")
@pytest.mark.parametrize(("mode", "feature"), [("iptables", "the ip6tables match"), ("nftables", "family ip6")])
def test_ipv6_features_are_tested_when_the_cluster_needs_ipv6(
    mode: str, feature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.subprocess, "run", _run_with(1, "no"))

    with pytest.raises(PreflightError) as ipv4:
        preflight.check(mode)
    with pytest.raises(PreflightError) as dual:
        preflight.check(mode, families=("IPv4", "IPv6"))

    assert feature not in ipv4.value.what
    assert feature in dual.value.what


def test_a_process_that_has_ended_has_no_inotify_instances(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, descriptors = tmp_path / "limit", tmp_path / "7" / "fd"
    limit.write_text("53\n")
    descriptors.mkdir(parents=True)
    (descriptors / "0").symlink_to("/dev/null")
    (descriptors / "1").symlink_to("anon_inode:inotify")
    (tmp_path / "8").mkdir()
    monkeypatch.setattr(preflight, "_INOTIFY_LIMIT", limit)
    monkeypatch.setattr(preflight, "_PROC", tmp_path)

    preflight._require_inotify(4)

    (descriptors / "2").symlink_to("anon_inode:inotify")
    with pytest.raises(PreflightError, match="2 of 53 inotify instances are in use"):
        preflight._require_inotify(4)


def test_too_few_inotify_instances_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "limit"
    monkeypatch.setattr(preflight, "_INOTIFY_LIMIT", limit)

    limit.write_text("2000\n")
    preflight._require_inotify(4)
    limit.write_text("10\n")
    with pytest.raises(PreflightError, match=r"of 10 inotify instances .* 4 nodes needs about 52 more") as caught:
        preflight._require_inotify(4)

    assert "sysctl -w fs.inotify.max_user_instances" in caught.value.next_step
