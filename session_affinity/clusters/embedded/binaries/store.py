"""Installed components in the cache: complete and checked, or absent.

A component's directory appears by one rename and contains a manifest of its files. Before that, its programs are
collected in a hidden staging directory beside it, which only the owner of the component's lock writes. The staging
directory survives an interruption, so finished programs are not downloaded or built again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.embedded import cache_files
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.clusters.embedded.binaries.pins import Component, Program

MANIFEST: Final = "manifest.json"
# ELF: e_machine, two bytes at offset 18; numbers of the ELF specification and its arm64 supplement.
ELF_MACHINES: Final = {"amd64": 62, "arm64": 183}


@dataclass(frozen=True)
class Origin:
    """How a component was obtained (``official release``, ``built with go1.26.8``) and from which URL or module."""

    how: str
    source: str

    def __str__(self) -> str:
        return f"{self.how} ({self.source})"


@dataclass(frozen=True)
class InstalledComponent:
    """A component in the cache, ready for use; ``cached`` when an earlier call installed it."""

    component: str
    version: str
    directory: Path
    programs: tuple[str, ...]
    origin: Origin
    cached: bool


class Staging:
    """The staging directory of a component; use it only with the component's lock."""

    def __init__(self, cache: Cache, component: Component, source: str, key: str) -> None:
        """Reuse the staging directory of an earlier run with the same source and key, or create a new one."""
        self.component = component
        self._cache = cache
        self._entry = cache.entry(component)
        self.directory = self._entry.with_name(f".{component.arch}.{source}")
        # With the PID in its name, so that an orphan of a killed run does not write into this directory.
        self._work = self.directory / f"work-{os.getpid()}"
        marker = self.directory / "key"
        if not (marker.is_file() and marker.read_text(encoding="utf-8") == key):
            remove(self.directory)
            self.directory.mkdir(parents=True)
            marker.write_text(key, encoding="utf-8")
        for work in self.directory.glob("work-*"):
            remove(work)
        self._work.mkdir()

    @property
    def work(self) -> Path:
        """A temporary directory in the same file system; removed at the installation or by the next attempt."""
        return self._work

    def has(self, program: str) -> bool:
        """Whether a program is finished, by this or an earlier run."""
        return (self.directory / "files" / program).is_file()

    def add(self, program: str, file: Path) -> None:
        """Move a finished program into the staging directory by a rename."""
        files = self.directory / "files"
        files.mkdir(exist_ok=True)
        file.chmod(0o755)
        _sync(file)
        file.replace(files / program)
        _sync(files)

    def install(self, origin: Origin, version: str = "") -> InstalledComponent:
        """Check every program, write the manifest and move the component to its place in the cache.

        Raises BinaryError when a program is missing, is for another architecture, does not start, or prints another
        version.
        """
        files = self.directory / "files"
        for program in self.component.programs:
            try:
                check(files / program.name, program, self.component.arch, version or self.component.version)
            except BinaryError:
                (files / program.name).unlink(missing_ok=True)
                raise
        _write_manifest(files, self.component, origin, version or self.component.version)
        _sync(files)
        discard(self._entry)
        files.rename(self._entry)
        _sync(self._entry.parent)
        for leftover in self._entry.parent.glob(f".{self.component.arch}.*"):
            remove(leftover)
        installed = find(self._cache, self.component, cached=False)
        if installed is None:
            raise BinaryError(
                f"another process changed {self._entry} during the installation of {self.component}",
                next_step="run again, with nothing else writing there",
            )
        return installed


def find(cache: Cache, component: Component, *, cached: bool = True) -> InstalledComponent | None:
    """Return the component if it is complete in the cache, or None; fast, as it compares sizes and times of files.

    A file with another modification time (a cache restored from an archive) is compared by its SHA-256.
    """
    entry = cache.entry(component)
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        names = tuple(program.name for program in component.programs)
        recipe = manifest["recipe"]
        if recipe not in ("", component.recipe) or not all(_is_complete(entry, manifest, name) for name in names):
            return None
        return InstalledComponent(
            component.name, manifest["version"], entry, names, Origin(**manifest["origin"]), cached
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def discard(entry: Path) -> None:
    """Remove a component from the cache: rename it first, so that no reader sees a part of it."""
    if not entry.exists():
        return
    aside = entry.with_name(f".{entry.name}.discarded-{os.getpid()}")
    remove(aside)
    entry.rename(aside)
    remove(aside)


def remove(directory: Path) -> None:
    """Remove a directory with its content, if it exists."""
    if directory.exists():
        shutil.rmtree(directory)


def check(file: Path, program: Program, arch: str, version: str) -> None:
    """Raise BinaryError unless a file is a program for the architecture, starts, and prints the version."""
    try:
        with file.open("rb") as stream:
            header = stream.read(20)
    except FileNotFoundError as error:
        raise BinaryError(f"{file.name} is not among the downloaded or built files") from error
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != ELF_MACHINES[arch]:
        raise BinaryError(f"{file} is not a Linux program for {arch}")
    argv = [str(file), *program.check]
    environment = {"PATH": os.defpath, "HOME": "/nonexistent"}
    try:
        completed = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEFAULTS.program_check,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BinaryError(f"{' '.join(argv)} did not end within {DEFAULTS.program_check:.0f} s") from error
    except OSError as error:
        raise BinaryError(
            f"cannot start {file}: {error.strerror}",
            next_step="if its file system is mounted noexec, set SESSION_AFFINITY_CACHE to another directory",
        ) from error
    output = completed.stdout.decode(errors="replace").strip()
    missing = [text for text in (version, *program.says) if text not in output]
    if completed.returncode != 0 or missing:
        lack = f", and its output does not contain {' and '.join(missing)}" if missing else ""
        raise BinaryError(f"{' '.join(argv)} ended with {completed.returncode}{lack}: {output[-500:]}")


def _write_manifest(files: Path, component: Component, origin: Origin, version: str) -> None:
    programs = {program.name: _fingerprint(files / program.name) for program in component.programs}
    manifest = {
        "component": component.name,
        "version": version,
        "arch": component.arch,
        "origin": asdict(origin),
        "recipe": component.recipe if origin.how.startswith("built") else "",
        "programs": programs,
    }
    _replace_manifest(files, manifest)


def _replace_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    cache_files.replace(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _fingerprint(file: Path) -> dict[str, Any]:
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest(file)}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _is_complete(entry: Path, manifest: dict[str, Any], name: str) -> bool:
    recorded = manifest["programs"][name]
    status = (entry / name).stat()
    if status.st_size != recorded["size"]:
        return False
    if status.st_mtime_ns == recorded["mtime_ns"]:
        return True
    if digest(entry / name) != recorded["sha256"]:
        return False
    recorded["mtime_ns"] = status.st_mtime_ns
    if os.access(entry, os.W_OK):
        _replace_manifest(entry, manifest)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
