"""The file of known differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.conformance.differences import read_differences
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = ("C10", "C24")
KNOWN = """
differences:
- claim: C24
  reason: rounded up to ten seconds
  link: https://example.org/7
  until: 2.4.0
"""


def written(directory: Path, text: str) -> Path:
    file = directory / "differences.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("version", "known"), [("2.3.9", True), ("v2.4.0", False), ("2.10.0", False), ("", True)])
def test_a_difference_is_known_until_its_version(tmp_path: Path, version: str, known: bool) -> None:  # noqa: FBT001
    assert ("C24" in read_differences(written(tmp_path, KNOWN), CLAIMS, version)) is known


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("differences: {}", "no list"),
        ("[", "differences.yaml"),
        ("differences: [{claim: C10}]", "entry 1 needs a claim and a reason"),
        ("differences: [{claim: C99, reason: x}]", "C99 is no claim of this suite"),
        ("differences: [{claim: C10, reason: x, untill: 1}]", "unknown field untill"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_differences(written(tmp_path, text), CLAIMS)


def test_a_version_without_an_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no version that can be compared"):
        read_differences(written(tmp_path, KNOWN), CLAIMS, "abc1234-dirty")
