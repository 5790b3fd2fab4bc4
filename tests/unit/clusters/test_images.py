"""Parts of image names, and the pinned images of the manifests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from session_affinity import about
from session_affinity.clusters.images import by_tag, digest, repository

MANIFESTS = Path(__file__).parents[3] / "manifests"


@pytest.mark.parametrize(
    ("image", "tag", "name", "pinned"),
    [
        ("a/b:v1@sha256:01ab", "a/b:v1", "a/b", "sha256:01ab"),
        ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b", ""),
        ("localhost:5000/b@sha256:01ab", "localhost:5000/b", "localhost:5000/b", "sha256:01ab"),
        ("busybox", "busybox", "busybox", ""),
    ],
)
def test_a_name_has_a_repository_a_tag_and_a_digest(image: str, tag: str, name: str, pinned: str) -> None:
    assert (by_tag(image), repository(image), digest(image)) == (tag, name, pinned)


def test_every_manifest_pins_its_images_and_each_image_has_one_pin() -> None:
    texts = [file.read_text() for file in MANIFESTS.glob("*.yaml")]
    images = {image for text in texts for image in re.findall(r"^\s+(?:- )?image: (\S+)$", text, re.MULTILINE)}

    images.discard(about.IMAGE)  # it contains the manifests, so that they cannot have its digest
    assert all(re.fullmatch(r"[\w./-]+:v[\d.]+@sha256:[0-9a-f]{64}", image) for image in images), images
    assert len({repository(image) for image in images}) == len(images) > 1
