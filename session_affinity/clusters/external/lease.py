"""Which run an object on a cluster belongs to, and whether that run is over.

Everything that a run creates has annotations with its id, its process and the time at which it expires, later than any
run lasts. On the machine of the run a lock file, named after the run, is locked until its process ends, however it
ends: where the file exists and can be locked, the run is over. Other machines and users have no such file and rely on
the expiry.
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

RUN: Final = "session-affinity-conformance/run"
"""The annotation with the id of the run."""
OWNER: Final = "session-affinity-conformance/owner"
"""The annotation that names the process of the run, for people."""
EXPIRES: Final = "session-affinity-conformance/expires"
"""The annotation with the time, RFC 3339, after which no run uses the object."""


class RunState(Enum):
    """What is known of the run that created an object."""

    OVER = auto()
    EXPIRED = auto()
    UNKNOWN = auto()


@contextlib.contextmanager
def lease(run: str) -> Iterator[None]:
    """Lock the file of a run during the block.

    A user without a directory to write to, as in many containers, has no file: what such a run leaves when it is killed
    is removed once it has expired.
    """
    path = _path(run)
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


def run_annotations(run: str, deadlines: Deadlines = DEFAULTS) -> dict[str, str]:
    """Return the annotations of everything that a run of this process creates."""
    expires = datetime.now(UTC) + timedelta(seconds=deadlines.namespace_lifetime)
    return {
        RUN: run,
        OWNER: f"process {os.getpid()} on {socket.gethostname()}",
        EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def run_of(thing: Mapping[str, Any]) -> str:
    """Return the id of the run that created an object; that of a namespace without the annotation is its name."""
    metadata = thing["metadata"]
    return str((metadata.get("annotations") or {}).get(RUN) or metadata["name"])


def state_of(thing: Mapping[str, Any]) -> RunState:
    """Return what is known of the run that created an object. One without a readable time never expires."""
    path = _path(run_of(thing))
    if path.exists():
        return RunState.OVER if _can_be_locked(path) else RunState.UNKNOWN
    try:
        expires = datetime.fromisoformat((thing["metadata"].get("annotations") or {})[EXPIRES])
        expired = expires < datetime.now(UTC)
    except (KeyError, TypeError, ValueError):
        return RunState.UNKNOWN
    return RunState.EXPIRED if expired else RunState.UNKNOWN


def forget(run: str) -> None:
    """Remove the lock file of a run that is over, once its objects are being deleted."""
    _path(run).unlink(missing_ok=True)


def _can_be_locked(path: Path) -> bool:
    lock = FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return True
    except (OSError, Timeout):
        return False


def _path(run: str) -> Path:
    return state_directory() / "runs" / f"{run.replace('/', '_')}.lock"
