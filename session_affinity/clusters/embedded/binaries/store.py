"""The programs in the cache: whole and checked, or not there.

A component's directory appears by one rename, with a manifest of its files beside them. Until then they are gathered
in a hidden directory next to it, which only the holder of the component's lock touches and which outlives an
interruption: what was finished in it is not made again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Final

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
    """How a component came here (``official release``, ``built with go1.26.8``, ...) and from what exactly."""

    how: str
    source: str

    def __str__(self) -> str:
        return f"{self.how} ({self.source})"


@dataclass(frozen=True)
class Installed:
    """A component that is ready for use; ``cached`` when it was so before this run."""

    component: str
    version: str
    directory: Path
    programs: tuple[str, ...]
    origin: Origin
    cached: bool


class Staging:
    """Where a component's programs are gathered before they appear together. Use it under the component's lock."""

    def __init__(self, cache: Cache, component: Component, source: str, key: str) -> None:
        """Open what an earlier run left for the same source and key, or start afresh."""
        self.component = component
        self._cache = cache
        self._entry = cache.entry(component)
        self.directory = self._entry.with_name(f".{component.arch}.{source}")
        # Its own name: what an orphan of a killed run still writes must not land among the files of this one.
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
        """An empty directory in the same file system, gone when the component is installed or tried again."""
        return self._work

    def has(self, program: str) -> bool:
        """Whether that program was finished, now or by an earlier run."""
        return (self.directory / "files" / program).is_file()

    def add(self, program: str, file: Path) -> None:
        """Take a finished program over, by a rename."""
        files = self.directory / "files"
        files.mkdir(exist_ok=True)
        file.chmod(0o755)
        _sync(file)
        file.replace(files / program)
        _sync(files)

    def install(self, origin: Origin, version: str = "") -> Installed:
        """Check every program, write the manifest and put the component in its place.

        Raises BinaryError when a program is missing, for another processor, does not start or tells another version.
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
        found = find(self._cache, self.component, cached=False)
        if found is None:
            raise BinaryError(
                f"{self.component} was changed while it was put into {self._entry}",
                next_step="run again, with nothing else writing there",
            )
        return found


def find(cache: Cache, component: Component, *, cached: bool = True) -> Installed | None:
    """Return the component if the cache holds it whole; quick, as only sizes and times of the files are compared.

    Files whose times alone differ (a cache restored from an archive) are read and compared by their SHA-256.
    """
    entry = cache.entry(component)
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        names = tuple(program.name for program in component.programs)
        recipe = manifest["recipe"]
        if recipe not in ("", component.recipe) or not all(_is_whole(entry, manifest, name) for name in names):
            return None
        return Installed(component.name, manifest["version"], entry, names, Origin(**manifest["origin"]), cached)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def discard(entry: Path) -> None:
    """Take a component out of the cache: at once for whoever looks, then file by file."""
    if not entry.exists():
        return
    aside = entry.with_name(f".{entry.name}.discarded-{os.getpid()}")
    remove(aside)
    entry.rename(aside)
    remove(aside)


def remove(directory: Path) -> None:
    """Remove a directory with all that is in it; one that is not there is fine."""
    if directory.exists():
        shutil.rmtree(directory)


def check(file: Path, program: Program, arch: str, version: str) -> None:
    """Raise BinaryError unless the file is a program for this processor, starts, and tells that version."""
    try:
        with file.open("rb") as stream:
            header = stream.read(20)
    except FileNotFoundError as error:
        raise BinaryError(f"{file.name} was not among what was downloaded or built") from error
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
            f"{file} cannot be started: {error.strerror}",
            next_step="if its file system is mounted noexec, name another directory in SESSION_AFFINITY_CACHE",
        ) from error
    said = completed.stdout.decode(errors="replace").strip()
    missing = [text for text in (version, *program.says) if text not in said]
    if completed.returncode != 0 or missing:
        lacks = f", and does not tell {' and '.join(missing)}" if missing else ""
        raise BinaryError(f"{' '.join(argv)} ended with {completed.returncode}{lacks}: {said[-500:]}")


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
    new = directory / f".{MANIFEST}.{os.getpid()}"
    new.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _sync(new)
    new.replace(directory / MANIFEST)


def _fingerprint(file: Path) -> dict[str, Any]:
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest(file)}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _is_whole(entry: Path, manifest: dict[str, Any], name: str) -> bool:
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
