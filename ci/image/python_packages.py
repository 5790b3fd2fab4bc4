"""The suite and its dependencies as files of the image, installed by uv for any architecture, and compiled.

Nothing is run that was built for another architecture: wheels are only unpacked, and byte code is the same everywhere.
"""

from __future__ import annotations

import email.parser
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci.image.debian import PYTHON
from session_affinity.clusters.embedded.images.oci import Entry, File
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: Final = Path(__file__).resolve().parents[2] / "requirements-image.lock"
"""What is installed beside the suite: its dependencies and the extra ``allure``, by digest (``make lock``)."""
TARGET: Final = f"/usr/local/lib/python{PYTHON}/dist-packages"
_PLATFORMS: Final = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
_LOADERS: Final = {
    "amd64": ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
    "arm64": ("usr/lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
}
_UNUSED: Final = ("bin/", "share/", "kubernetes/aio/")
"""How paths begin of what nothing in the image uses: scripts name this machine, and the suite is not asynchronous."""


@dataclass(frozen=True)
class PythonPackage:
    """A distribution: its name, version and licence as its metadata has them; an unknown licence is empty."""

    name: str
    version: str
    licence: str

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def install_dependencies(architecture: str, target: Path) -> None:
    """Install what the suite depends on into a directory; raises SuiteError with uv's message."""
    _uv(target, architecture, "--require-hashes", "--requirements", str(LOCK))


def install_suite(architecture: str, wheel: Path, target: Path) -> None:
    """Install the suite's wheel, and nothing else, into a directory; raises SuiteError."""
    _uv(target, architecture, "--no-deps", str(wheel))


def build_wheel(source: Path, target: Path) -> Path:
    """Build the wheel of a checkout into a directory and return it; raises SuiteError."""
    epoch = subprocess.run(
        ("git", "-C", source, "log", "-1", "--format=%ct"), capture_output=True, text=True, check=False
    )
    environment = {**os.environ, **({"SOURCE_DATE_EPOCH": epoch.stdout.strip()} if epoch.stdout.strip() else {})}
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(target), str(source))
    _run("building the wheel", command, environment)
    (wheel,) = target.glob("*.whl")
    return wheel


def packages(target: Path) -> Iterator[PythonPackage]:
    """Yield the distributions in a directory, sorted by name."""
    for metadata in sorted(target.glob("*.dist-info/METADATA")):
        fields = email.parser.Parser().parsestr(metadata.read_text(encoding="utf-8"), headersonly=True)
        yield PythonPackage(fields["Name"], fields["Version"], fields["License-Expression"] or "")


def entries(target: Path) -> Iterator[Entry]:
    """Yield the files of a directory as those of the image, without scripts: their first line names this machine."""
    for path in sorted(target.rglob("*")):
        inside = str(path.relative_to(target))
        if path.is_file() and not inside.startswith(_UNUSED) and not path.name.startswith("."):
            yield File(f"{TARGET}/{inside}", path.read_bytes(), 0o644)


def byte_code(interpreter: Path, architecture: str, root: Path, directory: str) -> Iterator[Entry]:
    """Compile the modules below a directory of an unpacked image and yield the byte code as files of the image.

    ``interpreter`` is an unpacked image for this machine, of ``architecture``, whose Python does the work. The byte
    code is not checked against the modules at run time, so that their times do not matter. Raises SuiteError.
    """
    loader, libraries = _LOADERS[architecture]
    command = (
        *(str(interpreter / loader), "--library-path", str(interpreter / libraries)),
        *(str(interpreter / "usr" / "bin" / f"python{PYTHON}"), "-m", "compileall", "-q"),
        *("--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/", str(root / directory.lstrip("/"))),
    )
    # PYTHONHASHSEED: the order of sets in byte code depends on it.
    environment = {"PYTHONHOME": str(interpreter / "usr"), "PYTHONHASHSEED": "0"}
    _run(f"compiling {directory}", command, environment)
    for path in sorted(root.joinpath(directory.lstrip("/")).rglob("*.pyc")):
        yield File(f"/{path.relative_to(root)}", path.read_bytes(), 0o644)


def _uv(target: Path, architecture: str, *arguments: str) -> None:
    command = (
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config", "--target", str(target)),
        *("--python", sys.executable, "--python-version", PYTHON, "--python-platform", _PLATFORMS[architecture]),
        *("--only-binary", ":all:", "--link-mode", "copy", *arguments),
    )
    _run(f"installing the Python packages for {architecture}", command, dict(os.environ))


def _run(what: str, command: tuple[str, ...], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        output = f"{done.stdout}\n{done.stderr}".strip()[-1500:]
        raise SuiteError(f"{what} failed with exit code {done.returncode}: {output}")
