"""The supported Kubernetes versions: one list for options, clusters and workflows.

The list is ``.github/kubernetes-versions.json``; the installed package has a copy. The command line and the matrix of
the workflows read it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from session_affinity import bundle
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSIONS_FILE: Final = bundle.KUBERNETES_VERSIONS
PROXY_MODES: Final = frozenset({"iptables", "nftables", "ipvs"})

_MINOR = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)")
_RELEASE = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_IMAGE = re.compile(r"[\w./-]+:v(?P<version>[\d.]+)@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class KindImage:
    """A node image with its digest, and the kind release that published it."""

    version: str
    image: str


@dataclass(frozen=True)
class KubernetesVersion:
    """One supported minor version.

    ``release`` is the patch version of the embedded cluster's programs. The kind image may have another patch version
    of the same minor: each kind release publishes its own images.
    """

    minor: str
    release: str
    kind: KindImage
    proxy_modes: tuple[str, ...]
    default: bool


@dataclass(frozen=True)
class KubernetesVersions:
    """Every supported version, oldest first."""

    versions: tuple[KubernetesVersion, ...]

    @property
    def minors(self) -> tuple[str, ...]:
        """The supported minor versions, oldest first."""
        return tuple(version.minor for version in self.versions)

    @property
    def default(self) -> KubernetesVersion:
        """The version that is used without an option."""
        return next(version for version in self.versions if version.default)

    def resolve(self, wanted: str | None = None) -> KubernetesVersion:
        """Return the version for ``1.37``, ``v1.37`` or ``1.37.2``; the default for None.

        A full patch version becomes the ``release`` of the result, also if it is not the listed one. Raises UsageError
        with the supported minors for anything else.
        """
        if wanted is None:
            return self.default
        text = wanted.strip().removeprefix("v")
        if _MINOR.fullmatch(text) or _RELEASE.fullmatch(text):
            for version in self.versions:
                if text == version.minor:
                    return version
                if text.startswith(version.minor + "."):
                    return replace(version, release=text)
        raise UsageError(
            f"Kubernetes {wanted!r} is not a supported version",
            next_step=f"choose one of {', '.join(self.minors)}, or a full patch version of one of them",
        )


@cache
def load(path: Path = VERSIONS_FILE) -> KubernetesVersions:
    """Read and check the list; raises SuiteError with the file and the wrong field."""
    try:
        versions = tuple(_version(entry, f"versions[{i}]") for i, entry in enumerate(_entries(path)))
        _check_together(versions)
    except OSError as error:
        raise SuiteError(
            f"cannot read the list of Kubernetes versions: {error}",
            next_step="install the package anew, or restore the file in your checkout",
        ) from error
    except (TypeError, ValueError) as error:
        raise SuiteError(
            f"{path}: {error}", next_step="correct this entry after the example of the other entries"
        ) from error
    return KubernetesVersions(versions)


def resolve(wanted: str | None = None) -> KubernetesVersion:
    """Return a supported version; see ``KubernetesVersions.resolve``."""
    return load().resolve(wanted)


def _entries(path: Path) -> list[Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    entries = document.get("versions") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError("'versions' must be a list of at least one version")
    return entries


def _version(entry: Any, where: str) -> KubernetesVersion:
    minor = _text(entry, "minor", where, _MINOR)
    where = f"{where} ({minor})"
    release = _text(entry, "release", where, _RELEASE)
    kind = _field(entry, "kind", dict, where)
    kind_version = _text(kind, "version", f"{where}.kind", re.compile(r"v\d+\.\d+\.\d+"))
    image = _text(kind, "image", f"{where}.kind", _IMAGE)
    modes = _field(entry, "proxy_modes", list, where)
    parts = _IMAGE.fullmatch(image)
    for version in (release, parts["version"] if parts else ""):
        if not version.startswith(minor + "."):
            raise ValueError(f"{where}: {version} is not a release of {minor}")
    if not modes or not PROXY_MODES.issuperset(modes):
        raise ValueError(f"{where}.proxy_modes: {modes!r} must name some of {', '.join(sorted(PROXY_MODES))}")
    default = _field(entry, "default", bool, where)
    return KubernetesVersion(minor, release, KindImage(kind_version, image), tuple(modes), default)


def _check_together(versions: tuple[KubernetesVersion, ...]) -> None:
    order = [tuple(int(part) for part in version.minor.split(".")) for version in versions]
    if order != sorted(set(order)):
        raise ValueError("the minors must be listed once each, oldest first")
    if [version.default for version in versions] != [False] * (len(versions) - 1) + [True]:
        raise ValueError("exactly the newest version must be the default")


def _field(entry: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(entry, dict):
        raise TypeError(f"{where} must be an object")
    fields: Mapping[str, Any] = entry
    if name not in fields:
        raise ValueError(f"{where}.{name} is missing")
    if not isinstance(fields[name], kind):
        raise TypeError(f"{where}.{name}: {fields[name]!r} is not a {kind.__name__}")
    return fields[name]


def _text(entry: Any, name: str, where: str, pattern: re.Pattern[str]) -> str:
    text: str = _field(entry, name, str, where)
    if not pattern.fullmatch(text):
        raise ValueError(f"{where}.{name}: {text!r} is not of the form {pattern.pattern}")
    return text
