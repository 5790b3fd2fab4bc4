"""CNI configuration is noticed however it is written: each way is followed by the removal of a file."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import linux
from session_affinity.clusters.embedded.cni_directory import CniDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_DELETE = 0x200


def renamed(directory: Path, elsewhere: Path) -> None:
    (elsewhere / "draft").write_text("{}")
    (elsewhere / "draft").rename(directory / "10-own.conflist")


def written(directory: Path, _: Path) -> None:
    (directory / "10-own.conf").write_text("{}")


def linked(directory: Path, elsewhere: Path) -> None:
    (directory / "10-own.json").symlink_to(elsewhere / "own.json")


def hard_linked(directory: Path, elsewhere: Path) -> None:
    (elsewhere / "own.json").write_text("{}")
    os.link(elsewhere / "own.json", directory / "10-own.json")


@pytest.mark.skipif(not hasattr(linux._libc, "inotify_init1"), reason="this machine has no inotify")
@pytest.mark.parametrize("write", [renamed, written, linked, hard_linked])
def test_configuration_is_followed_by_a_removal(write: Callable[[Path, Path], None], tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "net.d", tmp_path / "elsewhere"
    directory.mkdir()
    elsewhere.mkdir()
    watched = CniDirectory(directory)
    removals = linux.watch_directory(directory, IN_DELETE)

    write(directory, elsewhere)
    assert select.select([watched.descriptor], [], [], 5)[0]
    watched.handle_changes()

    assert select.select([removals], [], [], 5)[0]
    assert [name.startswith(".changed-") for name in linux.changed_names(removals)] == [True]
    assert [file.name for file in directory.iterdir()] == [file.name for file in directory.glob("10-own.*")]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Its own file, above all, or it would never come to rest."""
    watched = CniDirectory(tmp_path)
    removals = linux.watch_directory(tmp_path, IN_DELETE)

    (tmp_path / "README").write_text("")
    watched.handle_changes()

    assert linux.changed_names(removals) == set()
