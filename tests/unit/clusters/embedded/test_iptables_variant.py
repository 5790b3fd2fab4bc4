"""The variant of iptables on the nodes: its programs under their usual names, and which one is taken."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cli import embedded_clusters
from session_affinity.clusters.embedded import iptables_variant, preflight, provider
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.prepare import ClusterRequest, variant_of
from session_affinity.clusters.options import ClusterOptions
from session_affinity.errors import PreflightError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.unit

NAMES = [f"{kind}{end}" for kind in ("iptables", "ip6tables") for end in ("", "-save", "-restore")]


def install(machine: Path, *variants: str) -> None:
    """Give a machine the programs of these variants, each of which prints its variant."""
    for variant in variants:
        for name in NAMES:
            kind, separator, end = name.partition("-")
            program = machine / f"{kind}-{variant}{separator}{end}"
            program.write_text(f"#!/bin/sh\necho {variant} {end or 'rules'}\n")
            program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "machine"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The variants whose rules the kernel takes; a test may take one away."""
    taken = {"legacy", "nft"}

    def run(argv: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        program = argv[argv.index("--") + 1]
        return subprocess.CompletedProcess(argv, 0 if any(f"-{name}-" in program for name in taken) else 1, "", "no")

    monkeypatch.setattr(preflight.subprocess, "run", run)
    return taken


def test_the_programs_of_a_variant_have_their_usual_names(machine: Path, tmp_path: Path) -> None:
    install(machine, "legacy", "nft")

    iptables = iptables_variant.link("legacy", tmp_path / "links")

    assert sorted(path.name for path in iptables.parent.iterdir()) == sorted(NAMES)
    printed = subprocess.run([f"{iptables}-save"], env={"PATH": "/bin:/usr/bin"}, capture_output=True, check=True)
    assert printed.stdout == b"legacy save\n"


def test_links_that_are_right_stay_and_others_are_replaced(machine: Path, tmp_path: Path) -> None:
    install(machine, "nft")
    links = tmp_path / "links"
    iptables_variant.link("nft", links)
    before = (links / "iptables").lstat().st_ino
    (links / "ip6tables").unlink()
    (links / "ip6tables").symlink_to("/gone/ip6tables-nft")

    iptables_variant.link("nft", links)

    assert (links / "iptables").lstat().st_ino == before
    assert (links / "ip6tables").readlink() == machine / "ip6tables-nft"
    assert len(list(links.iterdir())) == len(NAMES)


def test_a_variant_without_one_of_its_programs_is_not_installed(machine: Path, tmp_path: Path) -> None:
    install(machine, "legacy")
    (machine / "ip6tables-legacy-restore").unlink()

    assert iptables_variant.installed("legacy") == {}
    with pytest.raises(PreflightError, match="those of iptables-legacy") as caught:
        iptables_variant.link("legacy", tmp_path / "links")
    assert "apt-get install iptables" in caught.value.next_step


def test_legacy_is_taken_where_program_and_kernel_have_it(machine: Path, kernel: set[str]) -> None:
    install(machine, "legacy", "nft")
    assert preflight.iptables_variant_of(("IPv4",)) == "legacy"

    kernel.remove("legacy")
    assert preflight.iptables_variant_of(("IPv4",)) == "nft"

    kernel.clear()
    assert preflight.iptables_variant_of(("IPv4",)) == ""


def test_without_programs_of_a_variant_the_machines_own_are_taken(machine: Path, kernel: set[str]) -> None:
    assert (list(machine.iterdir()), kernel) == ([], {"legacy", "nft"})
    assert preflight.iptables_variant_of(("IPv4",)) == ""


@pytest.mark.usefixtures("kernel")
def test_the_variant_that_is_asked_for_is_taken(machine: Path) -> None:
    install(machine, "legacy", "nft")

    assert variant_of(ClusterRequest(iptables="nft"), ["iptables"]) == "nft"
    assert variant_of(ClusterRequest(), ["iptables", "nftables"]) == "legacy"
    assert variant_of(ClusterRequest(), ["nftables"]) == ""


def test_a_variant_says_nothing_where_no_kube_proxy_is_in_iptables_mode() -> None:
    with pytest.raises(UsageError, match="--iptables nft says nothing here"):
        variant_of(ClusterRequest(iptables="nft"), ["nftables"])


def test_the_kernel_is_tried_with_the_programs_of_the_variant(kernel: set[str]) -> None:
    kernel.remove("legacy")

    assert preflight.missing_features(preflight.features("iptables", ("IPv4",), "nft")) == []
    lacking = preflight.missing_features(preflight.features("iptables", ("IPv4", "IPv6"), "legacy"))
    assert len(lacking) == len(preflight.features("iptables", ("IPv4", "IPv6")))
    assert len(preflight.missing_features(preflight.features("nftables", ("IPv4",), "nft"))) == 1


@pytest.mark.parametrize("asked", ["legacy", None])
def test_a_running_cluster_of_another_variant_is_not_used(asked: str | None) -> None:
    layout = Layout("blue", "1.37.2", "iptables", {}, "", node_layouts("blue", workers=3), iptables="legacy")
    kept: Any = SimpleNamespace(layout=layout, name="blue")

    provider._require_same(kept, ClusterOptions(iptables=asked))
    embedded_clusters._require_alike(kept, ClusterRequest("blue", iptables=asked), "1.37.2")
    with pytest.raises(UsageError, match="--iptables nft: the running cluster blue has legacy"):
        provider._require_same(kept, ClusterOptions(iptables="nft"))
    with pytest.raises(UsageError, match="cluster blue has iptables-legacy; requested was nft"):
        embedded_clusters._require_alike(kept, ClusterRequest("blue", iptables="nft"), "1.37.2")
