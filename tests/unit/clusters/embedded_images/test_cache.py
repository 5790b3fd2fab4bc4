"""Images are built once for the same inputs, and again when an input changes."""

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


class FakeInputs:
    """Small stand-ins for the inputs of the images, with a cache and a source tree in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.cache = Cache(root / "cache")
        self.source = root / "source"
        (self.source / "whoami").mkdir(parents=True)
        (self.source / "whoami/main.go").write_text("package main\n")
        self.tool = root / "curl"
        self.tool.write_bytes(b"curl")
        self.library = root / "libcurl.so.4"
        self.library.write_bytes(b"libcurl")
        self.builds: list[str] = []
        self.ldd_runs = 0

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (Tool("curl", self.tool),)

    def libraries(self, _: object) -> tuple[Path, ...]:
        self.ldd_runs += 1
        return (self.library,)

    def program(self, name: str, target: Path, **_: object) -> bytes:
        self.builds.append(name)
        (target / name).write_bytes(name.encode())
        return name.encode()

    def __call__(self) -> ImageSet:
        return ensure_images(cache=self.cache)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeInputs:
    fake = FakeInputs(tmp_path)
    monkeypatch.setattr(hosttools, "locate", lambda: fake.tools)
    monkeypatch.setattr(hosttools, "libraries", fake.libraries)
    monkeypatch.setattr(programs, "SOURCE", fake.source)
    monkeypatch.setattr(programs, "build", fake.program)
    monkeypatch.setattr(programs, "find_go", lambda *_: Go(tmp_path / "go", "1.26.8"))
    return fake


def test_the_archive_contains_the_three_images_of_the_manifests(inputs: FakeInputs) -> None:
    image_set = inputs()
    names = [image.name for image in image_set.images]
    assert names == [
        "registry.k8s.io/pause:3.10",
        build.WHOAMI,
        build.NETSHOOT,
    ]
    with tarfile.open(image_set.archive) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
    assert [manifest["digest"] for manifest in index["manifests"]] == [image.digest for image in image_set.images]
    assert image_set.images[1].stand_in_for == "traefik/whoami"
    assert "stand-in for traefik/whoami" in image_set.images[1].description


def test_a_second_run_builds_nothing(inputs: FakeInputs) -> None:
    first = inputs()
    assert inputs() == first
    assert inputs.builds == ["pause", "whoami"]
    assert inputs.ldd_runs == 1


def test_a_changed_source_gives_new_images(inputs: FakeInputs) -> None:
    first = inputs()
    (inputs.source / "whoami/main.go").write_text("package main // changed\n")
    assert inputs().archive != first.archive
    assert len(inputs.builds) == 4


def test_a_changed_tool_gives_new_images_and_a_new_list_of_libraries(inputs: FakeInputs) -> None:
    first = inputs()
    inputs.tool.write_bytes(b"curl, upgraded")
    assert inputs().archive != first.archive
    assert inputs.ldd_runs == 2


def test_a_change_on_the_host_builds_no_program(inputs: FakeInputs) -> None:
    """So a cache that is copied to another machine works there without Go."""
    inputs()
    inputs.tool.write_bytes(b"curl, upgraded")
    inputs()
    assert inputs.builds == ["pause", "whoami"]


@pytest.mark.parametrize("damage", ["pause", "whoami", "programs.json"])
def test_damaged_programs_are_built_again(inputs: FakeInputs, damage: str) -> None:
    first = inputs()
    [entry] = first.archive.parents[1].glob("programs-*")
    (entry / damage).write_text("{}")
    inputs.tool.write_bytes(b"curl, upgraded")
    inputs()
    assert len(inputs.builds) == 4
    assert (entry / "pause").read_bytes() == b"pause"


def test_a_changed_library_gives_new_images(inputs: FakeInputs) -> None:
    first = inputs()
    os.utime(inputs.library, ns=(0, 0))
    assert inputs().archive != first.archive
    assert inputs.ldd_runs == 2


def test_a_damaged_list_of_libraries_is_replaced(inputs: FakeInputs) -> None:
    first = inputs()
    [list_file] = first.archive.parents[1].glob("libraries-*.json")
    list_file.write_text("[]")
    assert inputs() == first
    assert inputs.ldd_runs == 2


@pytest.mark.parametrize("damage", ["images.tar", "images.json"])
def test_a_damaged_archive_is_built_again(inputs: FakeInputs, damage: str) -> None:
    first = inputs()
    content = first.archive.read_bytes()
    first.archive.with_name(damage).write_text("{}")
    assert inputs() == first
    assert first.archive.read_bytes() == content


def test_a_failed_build_leaves_nothing_behind(inputs: FakeInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise BinaryError("no")

    monkeypatch.setattr(programs, "build", fail)
    with pytest.raises(BinaryError):
        inputs()
    assert [path.name for path in (inputs.cache.root / "images").iterdir() if path.is_dir()] == []


def test_drafts_of_a_killed_run_are_removed(inputs: FakeInputs) -> None:
    draft = inputs.cache.root / "images/.draft-killed"
    draft.mkdir(parents=True)
    inputs()
    assert not draft.exists()


def test_the_programs_are_built_statically_with_the_given_toolchain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nenv > "$ENVIRONMENT_FILE"\nwhile [ "$1" != -o ]; do shift; done\necho "$3" > "$2"\n')
    go.chmod(0o755)
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    file = tmp_path / "environment"
    environment = {"ENVIRONMENT_FILE": str(file), "PATH": os.defpath, "GOFLAGS": "-mod=mod"}
    monkeypatch.setattr(Go, "environment", lambda *_: environment)
    program = programs.build("pause", tmp_path, go=Go(go, "1.26.8"), cache=Cache(tmp_path), architecture="amd64")
    assert program == b"./pause\n"
    assert {"CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS="} <= set(file.read_text().splitlines())


def test_the_key_depends_on_the_go_programs_and_the_python_modules(tmp_path: Path) -> None:
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


def test_the_description_of_every_image_contains_stand_in() -> None:
    assert all("stand-in" in spec.description for spec in build.image_specs(b"p", b"w", ()))
