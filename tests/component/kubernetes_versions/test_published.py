"""Published versions are read in their exact form, and images are confirmed by the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci.kubernetes_versions.published import PublishedError, fetch
from session_affinity.versions import KindImage

if TYPE_CHECKING:
    from conftest import Publisher

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "a" * 64
IMAGE = f"kindest/node:v1.37.0@{DIGEST}"
MANIFEST = f"/registry/v2/kindest/node/manifests/{DIGEST}"


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    """Kubernetes 1.37.2 and 1.36.4, and an image for 1.37."""
    publisher.responses |= {
        "/release/stable.txt": b"v1.37.2\n",
        "/release/stable-1.37.txt": b"v1.37.2",
        "/release/stable-1.36.txt": b"v1.36.4",
        "/kind": json.dumps([{"tag_name": "v0.33.0", "body": f"`{IMAGE}` and kindest/node:v1.20.1"}]).encode(),
        "/token": b'{"token": "t"}',
        MANIFEST: b"",
    }
    return publisher


def test_releases_and_images_of_the_listed_and_the_newest_minor_versions(published: Publisher) -> None:
    published_versions = fetch(["1.36"], published.addresses)

    assert published_versions.releases == {"1.36": "1.36.4", "1.37": "1.37.2"}
    assert published_versions.images == {"1.37": KindImage("v0.33.0", IMAGE)}


def test_githubs_token_goes_to_githubs_api_only(published: Publisher) -> None:
    fetch(["1.36"], published.addresses)

    authorizations = {path: headers.get("Authorization") for path, headers in published.requests.items()}
    assert {path for path, value in authorizations.items() if value and "secret" in value} == {"/kind"}
    assert authorizations[MANIFEST] == "Bearer t"


def test_an_image_that_the_registry_lacks_is_an_error(published: Publisher) -> None:
    del published.responses[MANIFEST]

    with pytest.raises(PublishedError, match=f"{DIGEST} answers 404"):
        fetch(["1.36"], published.addresses)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/release/stable-1.36.txt", b"<html>", "has '<html>', which is not a release"),
        ("/release/stable.txt", b"v1.38.0-rc.1", "which is not a release"),
        ("/kind", b"{}", "no release names a node image"),
        ("/kind", b"[3]", "is not a list of releases"),
        ("/kind", b"<html>", "is not a list of releases"),
    ],
)
def test_a_response_of_another_form_is_an_error(published: Publisher, path: str, body: bytes, message: str) -> None:
    published.responses[path] = body

    with pytest.raises(PublishedError, match=message):
        fetch(["1.36"], published.addresses)
