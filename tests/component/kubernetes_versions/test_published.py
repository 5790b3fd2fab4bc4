"""What is published is asked for, believed only in its form, and checked against the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci.kubernetes_versions.published import PublishedError, ask

if TYPE_CHECKING:
    from conftest import Publisher

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "a" * 64
IMAGE = f"kindest/node:v1.37.0@{DIGEST}"
MANIFEST = f"/registry/v2/kindest/node/manifests/{DIGEST}"


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    """Kubernetes 1.37.2 and 1.36.4, and an image for 1.37."""
    publisher.answers |= {
        "/release/stable.txt": b"v1.37.2\n",
        "/release/stable-1.37.txt": b"v1.37.2",
        "/release/stable-1.36.txt": b"v1.36.4",
        "/kind": json.dumps([{"tag_name": "v0.33.0", "body": f"`{IMAGE}` and kindest/node:v1.20.1"}]).encode(),
        "/token": b'{"token": "t"}',
        MANIFEST: b"",
    }
    return publisher


def test_releases_and_images_of_the_asked_minors_and_the_newest(published: Publisher) -> None:
    found = ask(["1.36"], published.places)

    assert found.releases == {"1.36": "1.36.4", "1.37": "1.37.2"}
    assert {minor: (one.version, one.image) for minor, one in found.images.items()} == {"1.37": ("v0.33.0", IMAGE)}


def test_only_githubs_api_is_told_githubs_token(published: Publisher) -> None:
    ask(["1.36"], published.places)

    told = {path: headers.get("Authorization") for path, headers in published.asked.items()}
    assert {path for path, said in told.items() if said and "secret" in said} == {"/kind"}
    assert told[MANIFEST] == "Bearer t"


def test_an_image_that_the_registry_does_not_have_is_no_proposal(published: Publisher) -> None:
    del published.answers[MANIFEST]

    with pytest.raises(PublishedError, match=f"{DIGEST} answers 404"):
        ask(["1.36"], published.places)


@pytest.mark.parametrize(
    ("path", "said", "why"),
    [
        ("/release/stable-1.36.txt", b"<html>", "says '<html>', which is no release"),
        ("/release/stable.txt", b"v1.38.0-rc.1", "which is no release"),
        ("/kind", b"{}", "no release names a node image"),
        ("/kind", b"[3]", "does not say what releases there are"),
        ("/kind", b"<html>", "does not say what releases there are"),
    ],
)
def test_an_answer_of_another_form_is_refused(published: Publisher, path: str, said: bytes, why: str) -> None:
    published.answers[path] = said

    with pytest.raises(PublishedError, match=why):
        ask(["1.36"], published.places)
