"""The images are made once for the same inputs, and made again when one of them changes."""

from __future__ import annotations

import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.binaries import Cache
from session_affinity.clusters.embedded.binaries.toolchain import Go
from session_affinity.clusters.embedded.images import build, ensure_images, hosttools, keys, programs
from session_affinity.clusters.embedded.images.hosttools import Tool
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.clusters.embedded.images import ImageSet

pytestmark = pytest.mark.unit


class Maker:
    """Images of small stand-in inputs, in a cache and from a source tree of the test's own."""

    def __init__(self, root: Path) -> None:
        self.cache = Cache(root / "cache")
        self.source = root / "source"
        (self.source / "whoami").mkdir(parents=True)
        (self.source / "whoami/main.go").write_text("package main\n")
        self.tool = root / "curl"
        self.tool.write_bytes(b"curl")
        self.library = root / "libcurl.so.4"
        self.library.write_bytes(b"libcurl")
        self.built: list[str] = []
        self.asked_for_libraries = 0

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (Tool("curl", self.tool),)

    def libraries(self, _: object) -> tuple[Path, ...]:
        self.asked_for_libraries += 1
        return (self.library,)

    def program(self, name: str, target: Path, **_: object) -> bytes:
        self.built.append(name)
        (target / name).write_bytes(name.encode())
        return name.encode()

    def __call__(self) -> ImageSet:
        return ensure_images(cache=self.cache)


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    made = Maker(tmp_path)
    monkeypatch.setattr(hosttools, "locate", lambda: made.tools)
    monkeypatch.setattr(hosttools, "libraries", made.libraries)
    monkeypatch.setattr(programs, "SOURCE", made.source)
    monkeypatch.setattr(programs, "build", made.program)
    monkeypatch.setattr(programs, "find_go", lambda *_: Go(tmp_path / "go", "1.26.8"))
    return made


def test_the_archive_holds_the_three_images_that_the_manifests_ask_for(maker: Maker) -> None:
    made = maker()
    names = [image.name for image in made.images]
    assert names == [
        "registry.k8s.io/pause:3.10",
        build.WHOAMI,
        build.NETSHOOT,
    ]
    with tarfile.open(made.archive) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
    assert [one["digest"] for one in index["manifests"]] == [image.digest for image in made.images]
    assert made.images[1].stand_in_for == "traefik/whoami"
    assert "stand-in for traefik/whoami" in made.images[1].description


def test_a_second_run_makes_nothing(maker: Maker) -> None:
    first = maker()
    assert maker() == first
    assert maker.built == ["pause", "whoami"]
    assert maker.asked_for_libraries == 1


def test_a_changed_source_makes_other_images(maker: Maker) -> None:
    first = maker()
    (maker.source / "whoami/main.go").write_text("package main // changed\n")
    assert maker().archive != first.archive
    assert len(maker.built) == 4


def test_a_changed_tool_makes_other_images_and_asks_for_its_libraries(maker: Maker) -> None:
    first = maker()
    maker.tool.write_bytes(b"curl, upgraded")
    assert maker().archive != first.archive
    assert maker.asked_for_libraries == 2


def test_what_changes_on_the_host_asks_for_no_compiler(maker: Maker) -> None:
    """So a cache that is carried to another machine has all that is needed there."""
    maker()
    maker.tool.write_bytes(b"curl, upgraded")
    maker()
    assert maker.built == ["pause", "whoami"]


@pytest.mark.parametrize("damage", ["pause", "whoami", "programs.json"])
def test_damaged_programs_are_built_again(maker: Maker, damage: str) -> None:
    first = maker()
    [kept] = first.archive.parents[1].glob("programs-*")
    (kept / damage).write_text("{}")
    maker.tool.write_bytes(b"curl, upgraded")
    maker()
    assert len(maker.built) == 4
    assert (kept / "pause").read_bytes() == b"pause"


def test_a_changed_library_makes_other_images(maker: Maker) -> None:
    first = maker()
    os.utime(maker.library, ns=(0, 0))
    assert maker().archive != first.archive
    assert maker.asked_for_libraries == 2


def test_a_damaged_list_of_libraries_is_made_again(maker: Maker) -> None:
    first = maker()
    [memory] = first.archive.parents[1].glob("libraries-*.json")
    memory.write_text("[]")
    assert maker() == first
    assert maker.asked_for_libraries == 2


@pytest.mark.parametrize("damage", ["images.tar", "images.json"])
def test_a_damaged_entry_is_made_again(maker: Maker, damage: str) -> None:
    first = maker()
    content = first.archive.read_bytes()
    first.archive.with_name(damage).write_text("{}")
    assert maker() == first
    assert first.archive.read_bytes() == content


def test_a_failed_build_leaves_nothing_behind(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise BinaryError("no")

    monkeypatch.setattr(programs, "build", fail)
    with pytest.raises(BinaryError):
        maker()
    assert [path.name for path in (maker.cache.root / "images").iterdir() if path.is_dir()] == []


def test_what_a_killed_run_left_is_removed(maker: Maker) -> None:
    left = maker.cache.root / "images/.draft-killed"
    left.mkdir(parents=True)
    maker()
    assert not left.exists()


def test_the_programs_are_built_static_with_the_toolchain_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nenv > "$GO_SAID"\nwhile [ "$1" != -o ]; do shift; done\necho "$3" > "$2"\n')
    go.chmod(0o755)
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    said = tmp_path / "environment"
    monkeypatch.setattr(Go, "environment", lambda *_: {"GO_SAID": str(said), "PATH": os.defpath, "GOFLAGS": "-mod=mod"})
    made = programs.build("pause", tmp_path, go=Go(go, "1.26.8"), cache=Cache(tmp_path), architecture="amd64")
    assert made == b"./pause\n"
    assert {"CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS="} <= set(said.read_text().splitlines())


def test_the_key_of_the_real_source_covers_the_go_programs_and_the_builder(tmp_path: Path) -> None:
    for name in ("whoami/main.go", "pause/main.go", "go.mod", "oci.py"):
        copy = tmp_path / name.replace("/", "-")
        for file in programs.SOURCE.rglob("*"):
            if file.is_file():
                target = copy / file.relative_to(programs.SOURCE)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        before = keys.source_digest(copy)
        (copy / name).write_text("changed")
        assert keys.source_digest(copy) != before, name


def test_every_image_says_that_it_is_a_stand_in() -> None:
    assert all("stand-in" in spec.description for spec in build.specs(b"p", b"w", ()))
