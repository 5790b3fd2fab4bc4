"""Which run a namespace belongs to, and whether that run is over.

A run locks a file of this user, named after its namespace, until its process ends, however it ends. So where the file
exists and can be locked, the run is over. A namespace of another machine or user has no such file; it carries the time
at which it expires, later than any run lasts.
"""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from session_affinity.clusters.state_directory import state_directory
from session_affinity.deadlines import DEFAULTS, Deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OWNER: Final = "session-affinity-conformance/owner"
"""The annotation that names the process of the run, for a reader."""
EXPIRES: Final = "session-affinity-conformance/expires"
"""The annotation with the time, RFC 3339, after which nobody uses the namespace."""


class RunState(Enum):
    """What is known of the run that made a namespace."""

    OVER = auto()
    EXPIRED = auto()
    UNKNOWN = auto()


@contextlib.contextmanager
def lease(namespace: str) -> Iterator[None]:
    """Hold the lock of a namespace's run while the block runs.

    A user who has no directory to write to, as in many containers, holds none: what such a run leaves when it is killed
    is removed once it has expired.
    """
    path = _path(namespace)
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)


def run_annotations(deadlines: Deadlines = DEFAULTS) -> dict[str, str]:
    """Return what a namespace of this process carries about its run."""
    expires = datetime.now(UTC) + timedelta(seconds=deadlines.namespace_lifetime)
    return {
        OWNER: f"process {os.getpid()} on {socket.gethostname()}",
        EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def state_of(namespace: Mapping[str, Any]) -> RunState:
    """Return what is known of the run that made a namespace. One without a readable time never expires."""
    metadata = namespace["metadata"]
    path = _path(metadata["name"])
    if path.exists():
        return RunState.OVER if _can_be_locked(path) else RunState.UNKNOWN
    try:
        expires = datetime.fromisoformat((metadata.get("annotations") or {})[EXPIRES])
        expired = expires < datetime.now(UTC)
    except (KeyError, TypeError, ValueError):
        return RunState.UNKNOWN
    return RunState.EXPIRED if expired else RunState.UNKNOWN


def forget(namespace: str) -> None:
    """Remove the lock file of a run that is over, once its namespace is being deleted."""
    _path(namespace).unlink(missing_ok=True)


def _can_be_locked(path: Path) -> bool:
    lock = FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return True
    except (OSError, Timeout):
        return False


def _path(namespace: str) -> Path:
    return state_directory() / "runs" / f"{namespace}.lock"
