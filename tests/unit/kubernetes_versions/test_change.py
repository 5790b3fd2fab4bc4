"""The next list of Kubernetes versions; no entry gets older."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci.kubernetes_versions.change import format_document, propose
from ci.kubernetes_versions.published import Published, images_of
from session_affinity import versions
from session_affinity.versions import KindImage

pytestmark = pytest.mark.unit


def image(release: str, digit: str = "0") -> str:
    return f"kindest/node:v{release}@sha256:{digit * 64}"


def entry(minor: str, *, default: bool = False) -> dict[str, Any]:
    kind = {"version": "v0.33.0", "image": image(f"{minor}.1")}
    modes = ["iptables", "nftables"]
    return {"minor": minor, "release": f"{minor}.9", "kind": kind, "proxy_modes": modes, "default": default}


DOCUMENT = {"versions": [entry("1.36"), entry("1.37", default=True)]}
AS_LISTED = Published(
    {"1.36": "1.36.9", "1.37": "1.37.9"},
    {minor: KindImage("v0.33.0", image(f"{minor}.1")) for minor in ("1.36", "1.37")},
)


def test_nothing_new_is_no_change() -> None:
    change = propose(DOCUMENT, AS_LISTED)

    assert change.lines == ()
    assert change.document == DOCUMENT


def test_a_newer_patch_release_is_taken() -> None:
    change = propose(DOCUMENT, Published({"1.36": "1.36.10", "1.37": "1.37.9"}, {}))

    assert change.lines == ("1.36: release 1.36.9 becomes 1.36.10",)
    assert [version["release"] for version in change.document["versions"]] == ["1.36.10", "1.37.9"]
    assert DOCUMENT["versions"][0]["release"] == "1.36.9"


def test_nothing_gets_older() -> None:
    older = Published({"1.36": "1.36.8", "1.37": "1.37.0"}, {"1.37": KindImage("v0.32.0", image("1.37.0", "f"))})

    assert propose(DOCUMENT, older).lines == ()


def test_a_newer_kind_replaces_the_image() -> None:
    newer = Published(AS_LISTED.releases, {"1.36": KindImage("v0.34.0", image("1.36.2", "a"))})

    change = propose(DOCUMENT, newer)

    assert change.document["versions"][0]["kind"] == {"version": "v0.34.0", "image": image("1.36.2", "a")}
    assert len(change.lines) == 1


def test_a_new_minor_version_replaces_the_oldest_once_kind_has_an_image() -> None:
    new = Published(
        {**AS_LISTED.releases, "1.38": "1.38.1"},
        {**AS_LISTED.images, "1.38": KindImage("v0.34.0", image("1.38.0", "b"))},
    )

    change = propose(DOCUMENT, new)

    defaults = {version["minor"]: version["default"] for version in change.document["versions"]}
    assert defaults == {"1.37": False, "1.38": True}
    assert change.lines == ("Kubernetes 1.38 is added as the default, and 1.36 is removed",)
    assert "README" in change.markdown()


def test_a_new_minor_without_an_image_waits() -> None:
    change = propose(DOCUMENT, Published({**AS_LISTED.releases, "1.38": "1.38.0"}, AS_LISTED.images))

    assert change.lines == ()
    assert change.notes == ("Kubernetes 1.38 is released, but kind has no node image for it yet.",)


def test_the_list_keeps_the_style_of_its_file() -> None:
    text = versions.VERSIONS_FILE.read_text(encoding="utf-8")

    assert format_document(json.loads(text)) == text


def test_the_image_of_the_newest_final_kind_release_counts() -> None:
    releases = [
        {"tag_name": "v0.9.0", "body": f"- 1.36: `{image('1.36.1', '1')}`"},
        {"tag_name": "v0.34.0", "body": f"- 1.37: `{image('1.37.1', '2')}`\n- 1.36: none"},
        {"tag_name": "v0.33.0", "body": f"`{image('1.37.0', '3')}`, `{image('1.36.4', '3')}`"},
        {"tag_name": "v0.35.0-alpha", "prerelease": True, "body": f"`{image('1.37.2', '4')}`"},
        {"tag_name": "v0.36.0", "draft": True, "body": f"`{image('1.37.3', '5')}`"},
        {"tag_name": "v0.31.0", "body": None},
    ]

    assert images_of(releases) == {
        "1.37": KindImage("v0.34.0", image("1.37.1", "2")),
        "1.36": KindImage("v0.33.0", image("1.36.4", "3")),
    }
