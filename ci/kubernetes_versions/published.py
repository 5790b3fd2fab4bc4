"""Reads what Kubernetes, kind and the image registry publish.

Releases: ``https://dl.k8s.io/release/stable.txt`` and ``stable-1.37.txt``, each with one line such as ``v1.37.2``.
Node images: the notes of a kind release name the images built for it, with their digests; kind supports those images
with that release. The registry confirms that an image exists under its digest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import urllib3

from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import SuiteError
from session_affinity.versions import KindImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RETRIES: Final = 3
_IMAGE: Final = re.compile(r"kindest/node:v((\d+\.\d+)\.\d+)@sha256:[0-9a-f]{64}")
_RELEASE: Final = re.compile(r"v(\d+\.\d+\.\d+)")
_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,"
    "application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json"
)


class PublishedError(SuiteError):
    """A publisher did not answer, or its answer could not be read."""


@dataclass(frozen=True)
class Addresses:
    """The publishers' addresses. ``github_token`` goes to GitHub's API only, whose rate limit is low without one."""

    releases: str = "https://dl.k8s.io/release"
    kind: str = "https://api.github.com/repos/kubernetes-sigs/kind/releases"
    registry: str = "https://registry-1.docker.io"
    tokens: str = "https://auth.docker.io/token"
    github_token: str = ""


@dataclass(frozen=True)
class Published:
    """By minor version (``1.37``): the newest release (``1.37.2``), and the node image of the newest kind with one."""

    releases: Mapping[str, str]
    images: Mapping[str, KindImage]


def fetch(minors: Iterable[str], addresses: Addresses) -> Published:
    """Return what is published for these minor versions and for the newest stable one.

    Raises PublishedError, with the address, when a publisher does not answer or its answer has another form.
    """
    client = _Client(addresses)
    stable = client.release("stable")
    wanted = dict.fromkeys([*minors, stable.rpartition(".")[0]])
    releases = {minor: client.release(f"stable-{minor}") for minor in wanted}
    images = {minor: image for minor, image in client.images().items() if minor in wanted}
    for image in images.values():
        client.require(image.image)
    return Published(releases, images)


def images_of(releases: Iterable[Mapping[str, object]]) -> dict[str, KindImage]:
    """Return, by minor version, the image named by the newest kind release; drafts and pre-releases do not count."""
    images: dict[str, KindImage] = {}
    final = [release for release in releases if not release.get("draft") and not release.get("prerelease")]
    for release in sorted(final, key=lambda release: _numbers(str(release["tag_name"])), reverse=True):
        named = {match[2]: match[0] for match in _IMAGE.finditer(str(release.get("body") or ""))}
        kind = str(release["tag_name"])
        images |= {minor: KindImage(kind, image) for minor, image in named.items() if minor not in images}
    return images


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


class _Client:
    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        retries = urllib3.Retry(RETRIES, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
        self._pool = urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(DEFAULTS.registry_request))

    def release(self, channel: str) -> str:
        address = f"{self._addresses.releases}/{channel}.txt"
        text = self._get(address).decode(errors="replace").strip()
        if not (match := _RELEASE.fullmatch(text)):
            raise PublishedError(f"{address} has {text[:80]!r}, which is not a release")
        return match[1]

    def images(self) -> dict[str, KindImage]:
        headers = {"Accept": "application/vnd.github+json"}
        if self._addresses.github_token:
            headers["Authorization"] = f"Bearer {self._addresses.github_token}"
        body = self._get(f"{self._addresses.kind}?per_page=30", headers)
        try:
            images = images_of(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PublishedError(f"{self._addresses.kind} is not a list of releases: {error!r}") from error
        if not images:
            raise PublishedError(f"{self._addresses.kind}: no release names a node image with its digest")
        return images

    def require(self, image: str) -> None:
        """Raise PublishedError unless the registry has an image under its digest."""
        name, digest = image.split("@")
        repository = name.rpartition(":")[0]
        scope = f"?service=registry.docker.io&scope=repository:{repository}:pull"
        token = json.loads(self._get(f"{self._addresses.tokens}{scope}"))["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": _MANIFESTS}
        self._get(f"{self._addresses.registry}/v2/{repository}/manifests/{digest}", headers, method="HEAD")

    def _get(self, address: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> bytes:
        try:
            response = self._pool.request(method, address, headers=dict(headers or {}))
        except urllib3.exceptions.HTTPError as error:
            raise PublishedError(f"{address} does not answer: {error}", next_step="try again later") from error
        if response.status != 200:
            raise PublishedError(
                f"{address} answers {response.status}", next_step="open it in a browser, or try again later"
            )
        return response.data
