"""Downloads official releases and verifies them with the checksums that their projects publish."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import tarfile
import threading
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

from session_affinity.clusters.embedded.binaries.store import InstalledComponent, Origin, Staging
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.clusters.embedded.binaries.pins import Component, Download
    from session_affinity.progress import Progress, ProgressStep

MIRROR_VARIABLE: Final = "SESSION_AFFINITY_RELEASES"
CHUNK_BYTES: Final = 1 << 18
CHECKSUMS_BYTES: Final = 1 << 20
PROXY_REFUSALS: Final = frozenset({403, 407, 511})


class ReleaseError(BinaryError):
    """An official release could not be downloaded or verified; another source may have the component."""

    def __init__(self, what: str) -> None:
        super().__init__(what, next_step=f"set {MIRROR_VARIABLE} to a mirror, or set SESSION_AFFINITY_SOURCE=build")


class Releases:
    """The source that downloads official releases; after the first failed connection it fails at once in this run.

    A mirror has the files under the host and path of their official URLs:
    ``MIRROR/dl.k8s.io/v1.37.2/bin/linux/amd64/kubelet``.
    """

    def __init__(
        self,
        cache: Cache,
        progress: Progress,
        environment: Mapping[str, str],
        *,
        connect_seconds: float = DEFAULTS.download_connect,
        stall_seconds: float = DEFAULTS.download_stall,
    ) -> None:
        self._cache = cache
        self._progress = progress
        self._mirror = environment.get(MIRROR_VARIABLE, "").rstrip("/")
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._how = f"official release from the mirror {self._mirror}" if self._mirror else "official release"
        self._unreachable = ""
        self._opener = urllib.request.build_opener()

    def obtain(self, component: Component) -> InstalledComponent:
        """Download, verify and install the component; the caller must have its lock.

        Raises ReleaseError; unverified files are not kept.
        """
        if self._unreachable:
            raise ReleaseError(self._unreachable)
        staging: Staging | None = None
        total = len(component.downloads)
        for number, download in enumerate(component.downloads, start=1):
            expected = self._published_checksum(download)
            if staging is None:
                staging = Staging(self._cache, component, "release", repr(component.downloads))
            if all(staging.has(program) for program, _ in download.programs):
                continue
            name = f"{component}: download {_file_name(download.url)}"
            with self._progress.step(name, position=(number, total)) as step:
                file = staging.work / "download"
                self._download(download, expected, file, step)
                _unpack(download, file, staging)
        if staging is None:
            raise ReleaseError(f"{component} has no official release")
        return staging.install(Origin(self._how, component.downloads[0].url))

    def _published_checksum(self, download: Download) -> str:
        url = self._address(download.checksum_url)
        with self._open(url) as response:
            text = self._read(url, response, CHECKSUMS_BYTES).decode(errors="replace")
        checksum = checksum_of(_file_name(download.url), text)
        if not checksum:
            raise ReleaseError(f"{url} contains no SHA-256 of {_file_name(download.url)}")
        return checksum

    def _download(self, download: Download, expected: str, file: Path, step: ProgressStep) -> None:
        url = self._address(download.url)
        with self._open(url) as response, file.open("wb") as target:
            size = int(response.headers.get("Content-Length") or 0)
            hashed, received = sha256(), 0
            while chunk := self._read(url, response, CHUNK_BYTES):
                hashed.update(chunk)
                target.write(chunk)
                received += len(chunk)
                step.update(f"{received / 1e6:.0f} of {size / 1e6:.0f} MB" if size else f"{received / 1e6:.0f} MB")
        if size and received != size:
            raise ReleaseError(f"{url} ended after {received} of {size} bytes")
        if hashed.hexdigest() != expected:
            raise ReleaseError(f"{url} has SHA-256 {hashed.hexdigest()}, the published one is {expected}")

    def _address(self, url: str) -> str:
        return f"{self._mirror}/{url.split('://', 1)[1]}" if self._mirror else url

    def _open(self, url: str) -> http.client.HTTPResponse:
        self._probe(url)
        try:
            response: http.client.HTTPResponse = self._opener.open(url, timeout=self._stall_seconds)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in PROXY_REFUSALS:
                    self._give_up(url, f"HTTP {error.code} {error.reason}", error)
                raise ReleaseError(f"{url}: HTTP {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            self._give_up(url, str(error.reason), error)
        except (OSError, http.client.HTTPException) as error:
            raise ReleaseError(f"{url}: {_message(error)}") from error
        return response

    def _read(self, url: str, response: http.client.HTTPResponse, size: int) -> bytes:
        try:
            return response.read(size)
        except TimeoutError as error:
            raise ReleaseError(f"{url} stalled: no data for {self._stall_seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ReleaseError(f"{url} was interrupted: {_message(error)}") from error

    def _probe(self, url: str) -> None:
        """Raise ReleaseError when no connection is possible within the connect deadline.

        The attempt runs in a thread, because resolving a name can take much longer than that deadline.
        """
        host, port = self._first_hop(url)
        outcome: list[OSError | None] = []

        def connect() -> None:
            try:
                socket.create_connection((host, port), timeout=self._connect_seconds).close()
                outcome.append(None)
            except OSError as error:
                outcome.append(error)

        began = time.monotonic()
        attempt = threading.Thread(target=connect, name=f"connect to {host}", daemon=True)
        attempt.start()
        attempt.join(self._connect_seconds)
        if not outcome:
            self._give_up(url, f"no connection to {host} within {time.monotonic() - began:.1f} s", None)
        if outcome[0] is not None:
            self._give_up(url, f"{host}: {outcome[0].strerror or outcome[0]}", outcome[0])

    def _first_hop(self, url: str) -> tuple[str, int]:
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def _give_up(self, url: str, reason: str, cause: BaseException | None) -> NoReturn:
        self._unreachable = f"the official releases cannot be reached from here ({urlsplit(url).hostname}: {reason})"
        raise ReleaseError(self._unreachable) from cause


def checksum_of(name: str, text: str) -> str:
    """Return the SHA-256 of a file from a published list of checksums, or from a file with a single checksum.

    Empty when the text has none.
    """
    for line in text.splitlines():
        words = line.split()
        if not words or len(words[0]) != 64 or set(words[0].lower()) - set("0123456789abcdef"):
            continue
        if len(words) == 1 or PurePosixPath(words[-1].removeprefix("*")).name == name:
            return words[0].lower()
    return ""


def _unpack(download: Download, file: Path, staging: Staging) -> None:
    if not download.programs[0][1]:
        staging.add(download.programs[0][0], file)
        return
    missing = {member: program for program, member in download.programs}
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                program = missing.get(os.path.normpath(member.name))
                content = archive.extractfile(member) if program and member.isfile() else None
                if program and content:
                    unpacked = staging.work / program
                    with content, unpacked.open("wb") as target:
                        shutil.copyfileobj(content, target)
                    staging.add(program, unpacked)
                    del missing[os.path.normpath(member.name)]
    except (tarfile.TarError, EOFError) as error:
        raise ReleaseError(f"cannot unpack {download.url}: {error}") from error
    file.unlink()
    if missing:
        raise ReleaseError(f"{download.url} does not contain {', '.join(missing)}")


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _file_name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name
