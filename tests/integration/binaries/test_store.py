"""The cache holds whole programs or none, whatever happened to it, and however many runs use it."""

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
def got(cache: Cache, progress: Progress, builder: Any, tool: Component) -> Callable[[], Binaries]:
    """Get the component as a run does."""
    return lambda: ensure("1.37.2", progress, cache=cache, sources=(builder,), components=(tool,))


def test_a_second_run_finds_the_programs_without_reading_them(
    got: Callable[[], Binaries], builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = got()
    monkeypatch.setattr(store, "digest", lambda file: pytest.fail(f"{file} was read"))

    second = got()

    assert second.paths == first.paths
    assert second.origins == {"tool": "1.2.3, cache: built with go1.0 (a test)"}
    assert builder.asked == ["tool"]


def truncate(file: Path) -> None:
    """Lose the end of it, as on a full disk."""
    os.truncate(file, 100)


def flip(file: Path) -> None:
    """Change one byte of it and nothing else that is quickly seen."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
def test_a_program_that_is_not_what_was_installed_is_made_again(
    got: Callable[[], Binaries], builder: Any, harm: Callable[[Path], None], content: bytes
) -> None:
    harm(got()["two"])

    assert got()["two"].read_bytes() == content
    assert builder.asked == ["tool", "tool"]


def test_a_cache_restored_with_other_times_is_read_once_and_kept(
    got: Callable[[], Binaries], builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(got()["one"], (1, 1))
    got()
    monkeypatch.setattr(store, "digest", lambda file: pytest.fail(f"{file} was read again"))

    got()

    assert builder.asked == ["tool"]


@pytest.mark.parametrize("manifest", ["", "{}", '{"version": 1}', "[]"])
def test_an_entry_with_a_broken_manifest_is_made_again(
    got: Callable[[], Binaries], builder: Any, manifest: str
) -> None:
    (got().directories["tool"] / store.MANIFEST).write_text(manifest, encoding="utf-8")

    got()

    assert builder.asked == ["tool", "tool"]


def test_a_build_by_another_recipe_is_made_again(got: Callable[[], Binaries], builder: Any) -> None:
    file = got().directories["tool"] / store.MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "recipe": "older"}), encoding="utf-8")

    got()

    assert builder.asked == ["tool", "tool"]


def test_remains_of_dead_runs_are_removed(got: Callable[[], Binaries], cache: Cache, tool: Component) -> None:
    remains = cache.entry(tool).with_name(f".{tool.arch}.discarded-1")
    remains.mkdir(parents=True)

    entry = got().directories["tool"]

    assert sorted(path.name for path in entry.parent.iterdir()) == [tool.arch]
    assert sorted(path.name for path in entry.iterdir()) == [store.MANIFEST, "one", "two"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"#!/bin/sh\necho 1.2.3\n", "is not a Linux program for", id="a-script"),
        pytest.param(b"\x7fELF" + b"\0" * 14 + b"\x08\0" + b"\0" * 40, "is not a Linux program for", id="for-mips"),
        pytest.param(None, "was not among what was downloaded or built", id="not-there"),
    ],
)
def test_what_is_no_program_of_this_machine_is_not_installed(
    cache: Cache, tool: Component, content: bytes | None, told: str
) -> None:
    staging = store.Staging(cache, tool, "build", "key")
    for name in ("one", "two"):
        if content is not None:
            (staging.work / name).write_bytes(content)
            staging.add(name, staging.work / name)

    with pytest.raises(BinaryError, match=told):
        staging.install(Origin("built", "here"))
    assert not cache.entry(tool).exists()
    assert not staging.has("one")


def test_a_program_that_tells_another_version_is_not_installed(cache: Cache, tool: Component, content: bytes) -> None:
    staging = store.Staging(cache, tool, "build", "key")
    (staging.work / "one").write_bytes(content)
    staging.add("one", staging.work / "one")

    with pytest.raises(BinaryError, match=r"does not tell 1\.2\.4"):
        staging.install(Origin("built", "here"), version="1.2.4")


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, "is full"), (errno.EROFS, "is read-only"), (errno.EACCES, "may not be written")]
)
def test_a_refusing_file_system_is_named(
    cache: Cache, progress: Progress, tool: Component, number: int, told: str
) -> None:
    class Refused:
        def obtain(self, component: Component) -> Any:
            raise OSError(number, os.strerror(number), str(component))

    with pytest.raises(BinaryError, match=re.escape(f"the cache {cache.root} {told}")) as caught:
        ensure("1.37.2", progress, cache=cache, sources=(Refused(),), components=(tool,))
    assert "SESSION_AFFINITY_CACHE" in caught.value.next_step


def test_a_cache_that_is_a_file_is_named(tmp_path: Path, progress: Progress, builder: Any, tool: Component) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(BinaryError, match="is not a directory"):
        ensure("1.37.2", progress, cache=Cache(file), sources=(builder,), components=(tool,))


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
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
found = ensure("1.37.2", Progress(console=Console(width=400)), cache=cache, sources=(Slow(cache),), components=(tool,))
print(found["one"])
"""


def test_of_two_runs_at_once_one_builds_and_the_other_says_whom_it_waits_for(tmp_path: Path) -> None:
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
