"""The cache contains complete components only, also after damage and with several runs at once."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded.binaries import Cache, Origin, ensure, store
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.clusters.embedded.binaries import Binaries
    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.progress import Progress

pytestmark = pytest.mark.unit


@pytest.fixture
def ensure_tool(cache: Cache, progress: Progress, builder: Any, tool: Component) -> Callable[[], Binaries]:
    """A function that ensures the component as a run does."""
    return lambda: ensure("1.37.2", progress, cache=cache, sources=(builder,), components=(tool,))


def test_a_second_run_uses_the_cache_without_reading_the_programs(
    ensure_tool: Callable[[], Binaries], builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_tool()
    monkeypatch.setattr(store, "digest", lambda file: pytest.fail(f"{file} was read"))

    second = ensure_tool()

    assert second.paths == first.paths
    assert second.origins == {"tool": "1.2.3, cache: built with go1.0 (a test)"}
    assert builder.components == ["tool"]


def truncate(file: Path) -> None:
    """Cut off the end of a file, as a full disk does."""
    os.truncate(file, 100)


def flip(file: Path) -> None:
    """Change one byte of a file and keep its size."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_a_damaged_program_is_installed_again(
    ensure_tool: Callable[[], Binaries], builder: Any, damage: Callable[[Path], None], content: bytes
) -> None:
    damage(ensure_tool()["two"])

    assert ensure_tool()["two"].read_bytes() == content
    assert builder.components == ["tool", "tool"]


def test_a_cache_restored_with_other_times_is_read_once_and_used(
    ensure_tool: Callable[[], Binaries], builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(ensure_tool()["one"], (1, 1))
    ensure_tool()
    monkeypatch.setattr(store, "digest", lambda file: pytest.fail(f"{file} was read again"))

    ensure_tool()

    assert builder.components == ["tool"]


@pytest.mark.parametrize("manifest", ["", "{}", '{"version": 1}', "[]"])
def test_a_component_with_a_broken_manifest_is_installed_again(
    ensure_tool: Callable[[], Binaries], builder: Any, manifest: str
) -> None:
    (ensure_tool().directories["tool"] / store.MANIFEST).write_text(manifest, encoding="utf-8")

    ensure_tool()

    assert builder.components == ["tool", "tool"]


def test_a_build_with_another_recipe_is_replaced(ensure_tool: Callable[[], Binaries], builder: Any) -> None:
    file = ensure_tool().directories["tool"] / store.MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "recipe": "older"}), encoding="utf-8")

    ensure_tool()

    assert builder.components == ["tool", "tool"]


def test_leftovers_of_killed_runs_are_removed(
    ensure_tool: Callable[[], Binaries], cache: Cache, tool: Component
) -> None:
    leftover = cache.entry(tool).with_name(f".{tool.arch}.discarded-1")
    leftover.mkdir(parents=True)

    entry = ensure_tool().directories["tool"]

    assert sorted(path.name for path in entry.parent.iterdir()) == [tool.arch]
    assert sorted(path.name for path in entry.iterdir()) == [store.MANIFEST, "one", "two"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"#!/bin/sh\necho 1.2.3\n", "is not a Linux program for", id="a-script"),
        pytest.param(b"\x7fELF" + b"\0" * 14 + b"\x08\0" + b"\0" * 40, "is not a Linux program for", id="for-mips"),
        pytest.param(None, "is not among the downloaded or built files", id="not-there"),
    ],
)
def test_a_file_that_is_not_a_program_for_this_machine_is_not_installed(
    cache: Cache, tool: Component, content: bytes | None, reason: str
) -> None:
    staging = store.Staging(cache, tool, "build", "key")
    for name in ("one", "two"):
        if content is not None:
            (staging.work / name).write_bytes(content)
            staging.add(name, staging.work / name)

    with pytest.raises(BinaryError, match=reason):
        staging.install(Origin("built", "here"))
    assert not cache.entry(tool).exists()
    assert not staging.has("one")


def test_a_program_that_prints_another_version_is_not_installed(cache: Cache, tool: Component, content: bytes) -> None:
    staging = store.Staging(cache, tool, "build", "key")
    (staging.work / "one").write_bytes(content)
    staging.add("one", staging.work / "one")

    with pytest.raises(BinaryError, match=r"does not contain 1\.2\.4"):
        staging.install(Origin("built", "here"), version="1.2.4")


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "is full"), (errno.EROFS, "is read-only"), (errno.EACCES, "is not writable")]
)
def test_a_file_system_that_cannot_be_written_is_named(
    cache: Cache, progress: Progress, tool: Component, number: int, reason: str
) -> None:
    class Refused:
        def obtain(self, component: Component) -> Any:
            raise OSError(number, os.strerror(number), str(component))

    with pytest.raises(BinaryError, match=re.escape(f"the cache {cache.root} {reason}")) as caught:
        ensure("1.37.2", progress, cache=cache, sources=(Refused(),), components=(tool,))
    assert "SESSION_AFFINITY_CACHE" in caught.value.next_step


def test_a_cache_that_is_a_file_is_named(tmp_path: Path, progress: Progress, builder: Any, tool: Component) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(BinaryError, match="is not a directory"):
        ensure("1.37.2", progress, cache=Cache(file), sources=(builder,), components=(tool,))


def test_the_environment_sets_the_cache_directory(tmp_path: Path) -> None:
    assert Cache.of_user({"SESSION_AFFINITY_CACHE": str(tmp_path)}).root == tmp_path
    assert Cache.of_user({}).root.name == "session-affinity"


WORKER = """
import sys, time
sys.path.insert(0, {here!r})
import conftest
from pathlib import Path
from rich.console import Console
from session_affinity.clusters.embedded.binaries import Cache, ensure
from session_affinity.progress import Progress

class Slow(conftest.FakeBuilder):
    def obtain(self, component):
        with Path({root!r}, "built").open("a") as built:
            built.write("once ")
        time.sleep(0.3)
        return super().obtain(component)

cache = Cache(Path({root!r}, "cache"))
print("ready", flush=True)
sys.stdin.readline()
tool = conftest.make_component("one", "two")
progress = Progress(console=Console(width=400))
binaries = ensure("1.37.2", progress, cache=cache, sources=(Slow(cache),), components=(tool,))
print(binaries["one"])
"""


def test_of_two_runs_at_once_one_builds_and_the_other_names_the_process_it_waits_for(tmp_path: Path) -> None:
    code = WORKER.format(here=str(Path(__file__).parent), root=str(tmp_path))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin
        run.stdin.write("\n")
        run.stdin.flush()
    outputs = [run.communicate(timeout=10)[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0]
    assert (tmp_path / "built").read_text(encoding="utf-8") == "once "
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    waited = [output for output in outputs if "wait for process" in output]
    other = runs[1 - outputs.index(waited[0])]
    assert len(waited) == 1
    assert f"wait for process {other.pid}:" in waited[0]
