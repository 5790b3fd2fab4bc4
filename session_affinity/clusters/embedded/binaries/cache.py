"""The cache directory of a user: its paths, its locks, and messages for file system errors."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from session_affinity.errors import BinaryError
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.progress import Progress

CACHE_VARIABLE: Final = "SESSION_AFFINITY_CACHE"
LOCK_POLL_SECONDS: Final = 0.1
_WRITE_ERRORS: Final = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is over its quota",
    errno.EROFS: "is read-only",
    errno.EACCES: "is not writable by this user",
    errno.EPERM: "is not writable by this user",
    errno.ENOTDIR: "is not a directory, or contains a file in place of a directory",
    errno.EEXIST: "is not a directory, or contains a file in place of a directory",
}


@dataclass(frozen=True)
class Cache:
    """A directory shared by all runs of a user: programs, images, Go's caches and toolchains, locks and logs.

    And what API servers create at their first start (see ``embedded.bootstrap_policy``).
    """

    root: Path

    @classmethod
    def of_user(cls, environment: Mapping[str, str] | None = None) -> Cache:
        """Return the cache at SESSION_AFFINITY_CACHE, by default in the platform's cache directory of this user."""
        directory = (os.environ if environment is None else environment).get(CACHE_VARIABLE)
        if directory:
            return cls(Path(directory).expanduser().absolute())
        return cls(user_cache_path("session-affinity"))

    def entry(self, component: Component) -> Path:
        """Return the directory of an installed component."""
        return self.root / "bin" / component.name / component.version / component.arch

    def bootstrap_policy(self, release: str) -> Path:
        """Return the file for what API servers of a Kubernetes version create at their first start."""
        return self.root / "bootstrap-policy" / f"{release}.json"

    @property
    def go(self) -> Path:
        """Go's module cache, build cache and toolchains."""
        return self.root / "go"

    @property
    def logs(self) -> Path:
        """The logs of builds."""
        return self.root / "log"

    @contextmanager
    def locked(self, name: str, purpose: str, progress: Progress) -> Iterator[None]:
        """Take the lock of a name for the block; show a progress step while another process has it.

        ``purpose`` begins the step's name.
        """
        locks = self.root / "locks"
        with self.write_errors():
            locks.mkdir(parents=True, exist_ok=True)
            owner_file = locks / f"{name}.pid"
            lock = FileLock(locks / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                with progress.step(f"{purpose}: wait for {_owner(owner_file)}"):
                    lock.acquire(timeout=-1, poll_interval=LOCK_POLL_SECONDS)
        try:
            with suppress(OSError):
                owner_file.write_text(str(os.getpid()), encoding="ascii")
            yield
        finally:
            with suppress(OSError):
                owner_file.unlink()
            lock.release()

    @contextmanager
    def write_errors(self) -> Iterator[None]:
        """Turn an OSError of the block (disk full, read-only, no permission) into a BinaryError with the next step."""
        try:
            yield
        except OSError as error:
            if error.errno not in _WRITE_ERRORS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise BinaryError(
                f"the cache {self.root} {_WRITE_ERRORS[error.errno]} ({place}{error.strerror})",
                next_step=f"free some space or allow writing there, or set {CACHE_VARIABLE} to another directory",
            ) from error


def _owner(file: Path) -> str:
    """Return the owner of a lock, ``process PID``; waits a moment, as the PID is written after the lock is taken."""
    name = "another process"

    def has_pid() -> bool:
        nonlocal name
        with suppress(OSError, ValueError):
            name = f"process {int(file.read_text(encoding='ascii'))}"
            return True
        return False

    poll(has_pid, 2 * LOCK_POLL_SECONDS, pause=LOCK_POLL_SECONDS)
    return name
