"""What Kubernetes, kind and the image registry publish.

Releases: ``https://dl.k8s.io/release/stable.txt`` and ``stable-1.37.txt``, each one line, ``v1.37.2``. Node images: the
notes of kind's releases name those made for each release, with their digests; kind promises that they work with that
release. The registry is asked whether it has them.
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

TRIES: Final = 3
_IMAGE: Final = re.compile(r"kindest/node:v((\d+\.\d+)\.\d+)@sha256:[0-9a-f]{64}")
_RELEASE: Final = re.compile(r"v(\d+\.\d+\.\d+)")
_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,"
    "application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json"
)


class PublishedError(SuiteError):
    """What is published could not be read."""


@dataclass(frozen=True)
class Places:
    """Where to ask. ``github_token`` is for GitHub's API alone, which lets those without one ask seldom."""

    releases: str = "https://dl.k8s.io/release"
    kind: str = "https://api.github.com/repos/kubernetes-sigs/kind/releases"
    registry: str = "https://registry-1.docker.io"
    tokens: str = "https://auth.docker.io/token"
    github_token: str = ""


@dataclass(frozen=True)
class Published:
    """The newest release of each minor (``1.37`` to ``1.37.2``), and the node image of the newest kind that has one."""

    releases: Mapping[str, str]
    images: Mapping[str, KindImage]


def ask(minors: Iterable[str], places: Places) -> Published:
    """Return what is published for some minors and for the newest stable one.

    Raises PublishedError, naming the address, when one does not answer or says something else than it should.
    """
    asker = _Asker(places)
    stable = asker.release("stable")
    wanted = dict.fromkeys([*minors, stable.rpartition(".")[0]])
    releases = {minor: asker.release(f"stable-{minor}") for minor in wanted}
    images = {minor: image for minor, image in asker.images().items() if minor in wanted}
    for image in images.values():
        asker.require(image.image)
    return Published(releases, images)


def images_of(releases: Iterable[Mapping[str, object]]) -> dict[str, KindImage]:
    """Return for each minor the image that the newest kind release names in its notes; no drafts, no pre-releases."""
    found: dict[str, KindImage] = {}
    told = [one for one in releases if not one.get("draft") and not one.get("prerelease")]
    for one in sorted(told, key=lambda one: _numbers(str(one["tag_name"])), reverse=True):
        named = {match[2]: match[0] for match in _IMAGE.finditer(str(one.get("body") or ""))}
        found |= {minor: KindImage(str(one["tag_name"]), image) for minor, image in named.items() if minor not in found}
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


class _Asker:
    def __init__(self, places: Places) -> None:
        self._places = places
        retries = urllib3.Retry(TRIES, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
        self._pool = urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(DEFAULTS.registry_request))

    def release(self, channel: str) -> str:
        address = f"{self._places.releases}/{channel}.txt"
        said = self._get(address).decode(errors="replace").strip()
        if not (found := _RELEASE.fullmatch(said)):
            raise PublishedError(f"{address} says {said[:80]!r}, which is no release")
        return found[1]

    def images(self) -> dict[str, KindImage]:
        headers = {"Accept": "application/vnd.github+json"}
        if self._places.github_token:
            headers["Authorization"] = f"Bearer {self._places.github_token}"
        said = self._get(f"{self._places.kind}?per_page=30", headers)
        try:
            found = images_of(json.loads(said))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PublishedError(f"{self._places.kind} does not say what releases there are: {error!r}") from error
        if not found:
            raise PublishedError(f"{self._places.kind}: no release names a node image with its digest")
        return found

    def require(self, image: str) -> None:
        """Raise PublishedError unless the registry has an image under its digest."""
        name, digest = image.split("@")
        repository = name.rpartition(":")[0]
        scope = f"?service=registry.docker.io&scope=repository:{repository}:pull"
        token = json.loads(self._get(f"{self._places.tokens}{scope}"))["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": _MANIFESTS}
        self._get(f"{self._places.registry}/v2/{repository}/manifests/{digest}", headers, method="HEAD")

    def _get(self, address: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> bytes:
        try:
            answer = self._pool.request(method, address, headers=dict(headers or {}))
        except urllib3.exceptions.HTTPError as error:
            raise PublishedError(f"{address} does not answer: {error}", next_step="try again later") from error
        if answer.status != 200:
            raise PublishedError(f"{address} answers {answer.status}", next_step="look at it, or try again later")
        return answer.data
