"""One list of supported versions, checked when it is read, and what a user may call them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import versions
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.unit

DOCUMENT = json.loads(versions.VERSIONS_FILE.read_text(encoding="utf-8"))


def listed(minor: str) -> str:
    return next(entry["release"] for entry in DOCUMENT["versions"] if entry["minor"] == minor)


def test_five_minors_are_supported_and_the_newest_is_the_default() -> None:
    supported = versions.load()

    assert supported.minors == ("1.33", "1.34", "1.35", "1.36", "1.37")
    assert supported.default.minor == "1.37"
    assert versions.resolve() == supported.default


@pytest.mark.parametrize(
    ("wanted", "minor", "release"),
    [
        ("1.37", "1.37", listed("1.37")),
        ("v1.36", "1.36", listed("1.36")),
        ("1.35.4", "1.35", "1.35.4"),
        ("v1.33.1", "1.33", "1.33.1"),
        (" 1.34 ", "1.34", listed("1.34")),
    ],
)
def test_a_version_is_known_by_its_names(wanted: str, minor: str, release: str) -> None:
    found = versions.resolve(wanted)

    assert (found.minor, found.release) == (minor, release)
    assert f":v{minor}." in found.kind.image


@pytest.mark.parametrize("wanted", ["1.32", "1.38.0", "1.3", "1", "", "latest", "1.37.x", "1.37.2.1", "1.37.02"])
def test_anything_else_is_refused_with_the_supported_minors(wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        versions.resolve(wanted)
    assert "1.33, 1.34, 1.35, 1.36, 1.37" in caught.value.next_step


def without(*path: str) -> Callable[[Any], None]:
    """Take a field out of the first version."""

    def change(document: Any) -> None:
        entry = document["versions"][0]
        for name in path[:-1]:
            entry = entry[name]
        del entry[path[-1]]

    return change


def having(value: Any, *path: str) -> Callable[[Any], None]:
    """Give a field of the first version another value."""

    def change(document: Any) -> None:
        entry = document["versions"][0]
        for name in path[:-1]:
            entry = entry[name]
        entry[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without("minor"), r"versions\[0\]\.minor is missing", id="no-minor"),
        pytest.param(without("release"), r"versions\[0\] \(1\.33\)\.release is missing", id="no-release"),
        pytest.param(without("kind", "image"), r"kind\.image is missing", id="no-image"),
        pytest.param(without("proxy_modes"), "proxy_modes is missing", id="no-modes"),
        pytest.param(without("default"), "default is missing", id="no-default"),
        pytest.param(having("1.34.1", "release"), "1.34.1 is not a release of 1.33", id="release-of-another"),
        pytest.param(having("1.33", "release"), "is not of the form", id="release-is-a-minor"),
        pytest.param(having(1.33, "minor"), "1.33 is not a str", id="minor-is-a-number"),
        pytest.param(having("kindest/node:v1.33.1", "kind", "image"), "is not of the form", id="no-digest"),
        pytest.param(
            having(f"kindest/node:v1.34.1@sha256:{'0' * 64}", "kind", "image"),
            "not a release of 1.33",
            id="other-image",
        ),
        pytest.param(having("0.33", "kind", "version"), "is not of the form", id="kind-version"),
        pytest.param(having([], "proxy_modes"), "must name some of", id="empty-modes"),
        pytest.param(having(["userspace"], "proxy_modes"), "must name some of", id="unknown-mode"),
        pytest.param(having("yes", "default"), "'yes' is not a bool", id="default-is-text"),
        pytest.param(lambda document: document["versions"].pop(), "exactly the newest", id="no-default-among-them"),
        pytest.param(lambda document: document["versions"].reverse(), "oldest first", id="newest-first"),
        pytest.param(lambda document: document["versions"].append("1.38"), "must be an object", id="no-object"),
        pytest.param(lambda document: document.clear(), "'versions' must be a list", id="no-versions"),
    ],
)
def test_a_wrong_list_names_the_file_and_the_field(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    file = tmp_path / "versions.json"
    file.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(SuiteError, match=message) as caught:
        versions.load(file)
    assert str(file) in caught.value.what


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_list_that_is_no_json_object_names_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "versions.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match=r"versions\.json: "):
        versions.load(file)


def test_a_list_that_is_not_there_says_where_it_would_be(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no-such"):
        versions.load(tmp_path / "no-such.json")
