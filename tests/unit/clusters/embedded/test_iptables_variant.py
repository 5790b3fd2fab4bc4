"""The variant of iptables on the nodes: what a node sees of it, and which one is taken."""

from __future__ import annotations

import subprocess
from pathlib import Path
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

pytestmark = pytest.mark.unit

NAMES = [f"{kind}{end}" for kind in ("iptables", "ip6tables") for end in ("", "-save", "-restore")]


def install(machine: Path, *variants: str) -> None:
    """Give a machine the programs of these variants, each of which prints its variant; the last is the usual one."""
    for variant in variants:
        for name in NAMES:
            kind, separator, end = name.partition("-")
            program = machine / f"{kind}-{variant}{separator}{end}"
            program.write_text(f"#!/bin/sh\necho {variant} {separator}{end}\n")
            program.chmod(0o755)
    for name in NAMES:
        kind, separator, end = name.partition("-")
        (iptables_variant.ALTERNATIVES / name).symlink_to(machine / f"{kind}-{variants[-1]}{separator}{end}")
        (machine / name).symlink_to(iptables_variant.ALTERNATIVES / name)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "machine"
    directory.mkdir()
    (tmp_path / "alternatives").mkdir()
    monkeypatch.setattr(iptables_variant, "ALTERNATIVES", tmp_path / "alternatives")
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


def test_a_node_has_the_links_of_the_machine_and_its_own_variant(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(machine, "legacy", "nft")
    alternatives = iptables_variant.ALTERNATIVES
    (alternatives / "editor").symlink_to("/usr/bin/vim")
    mounted: list[Path] = []

    def mount(_: str, target: Path, *__: object) -> None:
        for path in target.iterdir():  # a new tmpfs is empty
            path.unlink()
        mounted.append(target)

    monkeypatch.setattr(iptables_variant.linux, "mount", mount)

    iptables_variant.use("legacy")

    assert mounted == [alternatives]
    assert {path.name: path.readlink() for path in alternatives.iterdir()} == {
        "editor": Path("/usr/bin/vim"),
        **{name: machine / name.replace("tables", "tables-legacy") for name in NAMES},
    }
    printed = subprocess.run([machine / "ip6tables-save"], env={"PATH": "/usr/bin"}, capture_output=True, check=True)
    assert printed.stdout == b"legacy -save\n"


def test_a_variant_without_one_of_its_programs_is_not_there(machine: Path) -> None:
    install(machine, "legacy")
    iptables_variant.require("legacy")
    (machine / "ip6tables-legacy-restore").unlink()

    assert iptables_variant.programs_of("legacy") == {}
    with pytest.raises(PreflightError, match="iptables-legacy cannot be what iptables means on the nodes") as caught:
        iptables_variant.require("legacy")
    assert "apt-get install iptables" in caught.value.next_step


def test_without_links_of_alternatives_no_variant_can_be_chosen(machine: Path) -> None:
    install(machine, "legacy", "nft")
    (machine / "iptables").unlink()
    (machine / "iptables").symlink_to(machine / "iptables-nft")

    assert (iptables_variant.programs_of("legacy"), iptables_variant.programs_of("nft")) == ({}, {})


def test_legacy_is_taken_where_program_and_kernel_have_it(machine: Path, kernel: set[str]) -> None:
    install(machine, "legacy", "nft")
    assert preflight.iptables_variant_of(("IPv4",)) == "legacy"

    kernel.remove("legacy")
    assert preflight.iptables_variant_of(("IPv4",)) == "nft"

    kernel.clear()
    assert preflight.iptables_variant_of(("IPv4",)) == ""


def test_legacy_is_not_taken_where_the_host_would_get_its_tables(
    machine: Path, kernel: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(machine, "legacy", "nft")

    taken = {}
    for release in ("5.10.0-39-amd64", "5.15.0", "6.18.44-fc"):
        monkeypatch.setattr(preflight.platform, "release", lambda release=release: release)
        taken[release] = preflight.iptables_variant_of(("IPv4",))

    assert kernel
    assert taken == {"5.10.0-39-amd64": "nft", "5.15.0": "legacy", "6.18.44-fc": "legacy"}


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
