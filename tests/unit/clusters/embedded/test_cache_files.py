"""Files of the cache, which others may read and write meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cache_files

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def test_a_file_is_replaced_as_a_whole_by_many_at_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "known.json"
    texts = [str(number) * 100_000 for number in range(8)]

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(lambda text: cache_files.replace(file, text), texts))

    assert file.read_text() in texts
    assert [path.name for path in file.parent.iterdir()] == ["known.json"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_draft_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text("before")

    with pytest.raises(UnicodeEncodeError):
        cache_files.replace(file, "\ud800")

    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["known.json"]
