"""The state of embedded clusters on disk: one directory per cluster below the user's state directory, and its lock."""

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
"""Written to the supervisor by the process that started the cluster, so that the cluster outlives that process."""
FREE_BYTES = 4 * 2**20
"""Space for the files of a cluster; checked before anything is started, so that a full disk is reported early."""
_PAUSE_SECONDS = 0.02
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine, identified by PID and start time, because the kernel reuses PIDs."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Return the identity of a running process; raises ClusterError when it has ended."""
        start = linux.start_time(pid)
        if start is None:
            raise ClusterError(f"process {pid} has ended")
        return cls(pid, start)

    @property
    def is_alive(self) -> bool:
        """Whether this process is still running."""
        return linux.start_time(self.pid) == self.start


@dataclass(frozen=True)
class ClusterProcesses:
    """The processes of a running cluster, stored by the supervisor when all nodes have their first process."""

    supervisor: ProcessId
    first_process: ProcessId
    nodes: dict[str, ProcessId]
    api_port: int


def states_root() -> Path:
    """Return the directory with the state of all clusters."""
    return state_directory() / "clusters"


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a PreflightError that names ``path`` and the next step."""
    try:
        yield
    except OSError as error:
        raise PreflightError(
            f"cannot write the state of the cluster to {path}: {error.strerror or error}",
            next_step=f"free some space, or set {STATE_VARIABLE} to another directory",
        ) from error


def require_room(directory: Path, size: int) -> None:
    """Raise OSError (ENOSPC) when the file system of a directory has less than ``size`` bytes free."""
    if shutil.disk_usage(directory).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StateDirectory:
    """The files of one cluster, in the directory ``NAME`` of ``states_root``.

    ``layout.json`` its layout; ``running.json`` its processes; ``facts.json``; ``kubeconfig``; ``pki/``;
    ``configured``, empty, once all files of its programs exist; ``objects-created``, empty, once its Node objects and
    RBAC rules exist;
    ``nodes/NODE/`` configuration and processes of a node; ``logs/supervisor.log`` and ``logs/NODE/``. Beside the
    directory is ``NAME.lock``, which every process of the cluster has locked.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a cluster",
                next_step="use at most 40 lower-case letters, digits and dashes, without a dash at either end",
            )
        self.name = name
        self.root = states_root() / name
        self.layout = self.root / "layout.json"
        self.processes = self.root / "running.json"
        self.kubeconfig = self.root / "kubeconfig"
        self.pki = self.root / "pki"
        self.facts = self.root / "facts.json"
        self.configured = self.root / "configured"
        self.objects_created = self.root / "objects-created"
        self.supervisor_log = self.root / "logs" / "supervisor.log"
        # Beside the directory, because the lock must outlive the directory that it protects.
        self._lock_file = self.root.with_name(f"{name}.lock")

    def node(self, name: str) -> Path:
        """Return the directory with the configuration of a node."""
        return self.root / "nodes" / name

    def log(self, node: str, process: str) -> Path:
        """Return the log file of a process on a node."""
        return self.root / "logs" / node / f"{process}.log"

    def create(self, nodes: tuple[str, ...]) -> None:
        """Create the directories, readable only by their owner; raises PreflightError when they cannot be written."""
        with write_errors(self.root):
            self.root.mkdir(parents=True, mode=0o700)
            require_room(self.root, FREE_BYTES)
            for name in nodes:
                self.node(name).mkdir(parents=True)
                self.log(name, "x").parent.mkdir(parents=True)

    def exists(self) -> bool:
        """Whether the cluster has a directory, left by a dead cluster or used by a running one."""
        return self.root.exists()

    def remove(self) -> None:
        """Remove all files of the cluster except its lock; raises ClusterError when something remains."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.exists():
            raise ClusterError(
                f"cannot remove the state of cluster {self.name}: {self.root}",
                next_step="find what is mounted or open below it with findmnt and lsof",
            )

    def lock(self, seconds: float = DEFAULTS.cluster_lock) -> int:
        """Lock the cluster and return the file descriptor of the lock, waiting up to ``seconds`` for it.

        A flock(2) lock belongs to the open file description, so it lasts until the last process that inherited the
        descriptor has ended: when the lock is free, no process of the cluster is alive. Raises ClusterError when
        another process has the lock, PreflightError when the lock file cannot be written.
        """
        with write_errors(self._lock_file):
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file.touch(0o600)
        descriptor: int | None = None

        def is_acquired() -> bool:
            nonlocal descriptor
            descriptor = self._try_lock()
            return descriptor is not None

        poll(is_acquired, seconds, pause=_PAUSE_SECONDS)
        if descriptor is None:
            raise ClusterError(
                f"cluster {self.name} is running, or another process is starting or removing it"
                f" (lock {self._lock_file})",
                next_step=f"wait for that process, take the cluster down, or use another name than {self.name}",
            )
        return descriptor

    def is_locked(self) -> bool:
        """Whether a process of the cluster is alive, or a process that is starting or removing it."""
        if not self._lock_file.exists():
            return False
        descriptor = self._try_lock()
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def remove_lock_file(self) -> None:
        """Remove the lock file of a removed cluster; the caller must have the lock."""
        self._lock_file.unlink(missing_ok=True)

    def _try_lock(self) -> int | None:
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner of the lock may have removed the file between open and flock.
            if os.fstat(descriptor).st_ino == self._lock_file.stat().st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def write_cluster_processes(self, processes: ClusterProcesses) -> None:
        """Store the processes of the cluster; this makes it visible as running."""
        _write_whole(self.processes, json.dumps(asdict(processes), indent=1))

    def read_cluster_processes(self) -> ClusterProcesses | None:
        """Return the processes of the cluster, or None when its nodes have not started."""
        try:
            data = json.loads(self.processes.read_text())
        except FileNotFoundError:
            return None
        return ClusterProcesses(
            # "keeper": its name in earlier versions, whose clusters must be found to be taken down.
            ProcessId(**(data.get("supervisor") or data["keeper"])),
            ProcessId(**data["first_process"]),
            {name: ProcessId(**process) for name, process in data["nodes"].items()},
            data["api_port"],
        )

    def write_node_processes(self, node: str, records: str) -> None:
        """Store the records of a node's processes; called by the node's first process."""
        _write_whole(self.node(node) / "processes.json", records)

    def read_node_processes(self, node: str) -> dict[str, dict[str, float]]:
        """Return a node's processes by name, each with ``pid``, ``started``, and after its end ``ended`` and ``code``.

        The PID is that in the node, times are in seconds since the epoch, and a negative code is the number of the
        signal that killed the process.
        """
        try:
            records: dict[str, dict[str, float]] = json.loads((self.node(node) / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return records


def _write_whole(file: Path, text: str) -> None:
    """Replace a file atomically, so that a reader never sees a partial file."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def cluster_names() -> tuple[str, ...]:
    """Return the names of all clusters with a directory on disk, running or dead."""
    root = states_root()
    return tuple(sorted(d.name for d in root.iterdir() if d.is_dir())) if root.exists() else ()
