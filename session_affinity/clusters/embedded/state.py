"""What a cluster keeps on disk: one directory a cluster, below the user's state directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded import linux
from session_affinity.clusters.state_directory import STATE_VARIABLE, state_directory
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError, UsageError
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEEP = b"keep"
"""What the starter of a cluster writes to its keeper to let it live on."""
FREE_BYTES = 4 * 2**20
"""What the files of a cluster may grow to: that the disk is full is said before anything is started, not after."""
_PAUSE_SECONDS = 0.02
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine, named for good: a number can be given again, with another start time."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Name a process that is alive; raises ClusterError if it is not."""
        start = linux.start_time(pid)
        if start is None:
            raise ClusterError(f"process {pid} has ended")
        return cls(pid, start)

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return linux.start_time(self.pid) == self.start


@dataclass(frozen=True)
class Running:
    """What the keeper says once all nodes have their first process."""

    keeper: ProcessId
    first_process: ProcessId
    nodes: dict[str, ProcessId]
    api_port: int


def states_root() -> Path:
    """Return where the state of all clusters is."""
    return state_directory() / "clusters"


@contextlib.contextmanager
def writing(where: Path) -> Iterator[None]:
    """Say what keeps the state of a cluster from being written; raises PreflightError."""
    try:
        yield
    except OSError as error:
        raise PreflightError(
            f"the state of the cluster cannot be written to {where}: {error.strerror or error}",
            next_step=f"make room, or name another directory in {STATE_VARIABLE}",
        ) from error


def require_room(directory: Path, size: int) -> None:
    """Raise OSError when a disk has less than so many bytes free."""
    if shutil.disk_usage(directory).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StateDirectory:
    """The files of one cluster.

    ``layout.json`` what it was asked to be; ``running.json`` its processes; ``kubeconfig``; ``pki/``; ``nodes/NAME/``
    configuration and the record of processes; ``logs/NAME/``; ``lock`` held by every process that is part of it.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a cluster: at most 40 lower-case letters, digits and inner dashes",
            )
        self.name = name
        self.root = states_root() / name
        self.layout = self.root / "layout.json"
        self.running = self.root / "running.json"
        self.kubeconfig = self.root / "kubeconfig"
        self.pki = self.root / "pki"
        self.facts = self.root / "facts.json"
        self.keeper_log = self.root / "logs" / "keeper.log"
        # Beside the directory, not in it: it must outlive the directory that it guards.
        self._lock_file = self.root.with_name(f"{name}.lock")

    def node(self, name: str) -> Path:
        """Return the directory with a node's configuration."""
        return self.root / "nodes" / name

    def log(self, node: str, process: str) -> Path:
        """Return the log of a process on a node."""
        return self.root / "logs" / node / f"{process}.log"

    def create(self, nodes: tuple[str, ...]) -> None:
        """Make the directories, readable by their owner only; raises PreflightError."""
        with writing(self.root):
            self.root.mkdir(parents=True, mode=0o700)
            require_room(self.root, FREE_BYTES)
            for name in nodes:
                self.node(name).mkdir(parents=True)
                self.log(name, "x").parent.mkdir(parents=True)

    def exists(self) -> bool:
        """Whether anything of such a cluster is on disk."""
        return self.root.exists()

    def remove(self) -> None:
        """Remove all files of the cluster but its lock."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.exists():
            raise ClusterError(
                f"the state of cluster {self.name} cannot be removed: {self.root}",
                next_step="look at what is mounted or open below it: findmnt, lsof",
            )

    def claim(self, seconds: float = DEFAULTS.cluster_claim) -> int:
        """Take the cluster for this process and those it hands the descriptor to, and return the descriptor.

        The lock belongs to the open file: it lasts until the last process that inherited it has ended, so a lock that
        can be taken means that nothing of the cluster is alive. Raises ClusterError when it is held,
        PreflightError when it cannot be made.
        """
        with writing(self._lock_file):
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file.touch(0o600)
        descriptor: int | None = None

        def is_locked() -> bool:
            nonlocal descriptor
            descriptor = self._try_lock()
            return descriptor is not None

        poll(is_locked, seconds, pause=_PAUSE_SECONDS)
        if descriptor is None:
            raise ClusterError(
                f"cluster {self.name} is in use, or is being started or taken down, by another process"
                f" (lock {self._lock_file})",
                next_step=f"wait for it, take it down, or use another name than {self.name}",
            )
        return descriptor

    def is_claimed(self) -> bool:
        """Whether a process of the cluster, or one that is starting it, is alive."""
        if not self._lock_file.exists():
            return False
        descriptor = self._try_lock()
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def forget_lock(self) -> None:
        """Remove the lock file of a cluster that is gone; to be called by the holder of the lock."""
        self._lock_file.unlink(missing_ok=True)

    def _try_lock(self) -> int | None:
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the file between our open and our lock.
            if os.fstat(descriptor).st_ino == self._lock_file.stat().st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def write_running(self, running: Running) -> None:
        """Say that the nodes are there."""
        _write_whole(self.running, json.dumps(asdict(running), indent=1))

    def read_running(self) -> Running | None:
        """Return the processes of the cluster, or None when it never came that far."""
        try:
            data = json.loads(self.running.read_text())
        except FileNotFoundError:
            return None
        return Running(
            ProcessId(**data["keeper"]),
            ProcessId(**data["first_process"]),
            {name: ProcessId(**process) for name, process in data["nodes"].items()},
            data["api_port"],
        )

    def write_processes(self, node: str, record: str) -> None:
        """Store what runs on a node; called by the node's first process."""
        _write_whole(self.node(node) / "processes.json", record)

    def read_processes(self, node: str) -> dict[str, dict[str, float]]:
        """Return what was started on a node: pid inside it, start, and end and exit code of what has ended."""
        try:
            record: dict[str, dict[str, float]] = json.loads((self.node(node) / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return record


def _write_whole(file: Path, text: str) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def cluster_names() -> tuple[str, ...]:
    """Return the names of all clusters that have anything on disk."""
    root = states_root()
    return tuple(sorted(d.name for d in root.iterdir() if d.is_dir())) if root.exists() else ()
