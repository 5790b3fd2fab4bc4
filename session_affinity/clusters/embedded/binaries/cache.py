"""Where everything is kept, who may write there now, and what it means when the file system says no."""

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
REFUSALS: Final = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is over its quota",
    errno.EROFS: "is read-only",
    errno.EACCES: "may not be written by this user",
    errno.EPERM: "may not be written by this user",
    errno.ENOTDIR: "is not a directory, or something in it is not",
    errno.EEXIST: "is not a directory, or something in it is not",
}


@dataclass(frozen=True)
class Cache:
    """A directory per user, shared by every run: programs, Go's caches and toolchain, locks and logs."""

    root: Path

    @classmethod
    def of_user(cls, environment: Mapping[str, str] | None = None) -> Cache:
        """Return the directory SESSION_AFFINITY_CACHE names, else the platform's cache directory of this user."""
        named = (os.environ if environment is None else environment).get(CACHE_VARIABLE)
        if named:
            return cls(Path(named).expanduser().absolute())
        return cls(user_cache_path("session-affinity"))

    def entry(self, component: Component) -> Path:
        """Where the programs of a component are once they are whole."""
        return self.root / "bin" / component.name / component.version / component.arch

    @property
    def go(self) -> Path:
        """Go's module cache, build cache and toolchains."""
        return self.root / "go"

    @property
    def logs(self) -> Path:
        """What the steps of the builds said."""
        return self.root / "log"

    @contextmanager
    def locked(self, name: str, purpose: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of that name; while another process has it, say which one and wait."""
        locks = self.root / "locks"
        with self.refusals():
            locks.mkdir(parents=True, exist_ok=True)
            holder = locks / f"{name}.pid"
            lock = FileLock(locks / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                with progress.step(f"{purpose}: wait for {_holder(holder)}"):
                    lock.acquire(timeout=-1, poll_interval=LOCK_POLL_SECONDS)
        try:
            with suppress(OSError):
                holder.write_text(str(os.getpid()), encoding="ascii")
            yield
        finally:
            with suppress(OSError):
                holder.unlink()
            lock.release()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turn a full, read-only or forbidden file system into a BinaryError that says so."""
        try:
            yield
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise BinaryError(
                f"the cache {self.root} {REFUSALS[error.errno]} ({place}{error.strerror})",
                next_step=f"make room or give write access there, or name another directory in {CACHE_VARIABLE}",
            ) from error


def _holder(file: Path) -> str:
    """Return the process that holds a lock: it writes its number just after it got the lock, so look more than once."""
    name = "another process"

    def is_named() -> bool:
        nonlocal name
        with suppress(OSError, ValueError):
            name = f"process {int(file.read_text(encoding='ascii'))}"
            return True
        return False

    poll(is_named, 2 * LOCK_POLL_SECONDS, pause=LOCK_POLL_SECONDS)
    return name
