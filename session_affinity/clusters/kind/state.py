"""The files that the suite keeps about a kind cluster it made, so that a later run recognises the cluster."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import filelock
import yaml

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.clusters.embedded.state import require_room, states_root, write_errors
from session_affinity.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from session_affinity.clusters.kind.engine import Container

FREE_BYTES: Final = 2**20
"""The space that the files of a cluster may need; it is checked before the cluster is created."""
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class KindRecord:
    """A cluster that the suite made.

    ``nodes`` maps the names of its containers to the engine's ids, and is empty until the cluster has started. ``kept``
    is true when the cluster stays after its run. ``network_was_there`` is true when kind's network existed before the
    cluster, so that the suite must not remove it. ``images`` maps images of the manifests to their names on the nodes.
    """

    node_image: str
    kubernetes: str
    proxy_mode: str
    network_was_there: bool
    kept: bool = False
    nodes: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    ip_family: str = DEFAULT_IP_FAMILY

    @property
    def started(self) -> bool:
        """Whether the cluster's start was completed."""
        return bool(self.nodes)

    def describes(self, containers: Sequence[Container]) -> bool:
        """Return whether all these containers belong to the cluster; any may, while its start is not completed."""
        return not self.started or {container.id for container in containers} <= set(self.nodes.values())


class KindState:
    """The files of one cluster: kind's configuration, the kubeconfig and the record; and a lock for the run using it.

    Raises UsageError for a name that cannot name a cluster.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a cluster",
                next_step="use at most 40 lower-case letters, digits and dashes, without a dash at either end",
            )
        self.name = name
        self.root = _root() / name
        self.configuration = self.root / "kind.yaml"
        self.kubeconfig = self.root / "kubeconfig"
        self._record = self.root / "cluster.json"
        # Beside the directory, not in it: the lock must outlive the directory that it guards.
        self._lock_file = self.root.with_name(f"{name}.lock")

    def record(self) -> KindRecord | None:
        """Return the record; None when there is none or it cannot be read."""
        try:
            return KindRecord(**json.loads(self._record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: KindRecord) -> None:
        """Replace the record; raises PreflightError when it cannot be written."""
        with write_errors(self.root):
            draft = self._record.with_suffix(".new")
            draft.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
            draft.replace(self._record)

    def add(self, directory: Path) -> Path:
        """Copy a directory into the cluster's, so that it lasts as long, and return the copy; raises PreflightError."""
        copy = self.root / directory.name
        with write_errors(self.root):
            shutil.copytree(directory, copy, dirs_exist_ok=True)
        return copy

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write kind's configuration; raises PreflightError."""
        with write_errors(self.root):
            self.configuration.write_text(yaml.safe_dump(dict(configuration), sort_keys=False), encoding="utf-8")

    def begin(self, configuration: Mapping[str, Any], record: KindRecord) -> None:
        """Write kind's configuration and the record before anything is created; raises PreflightError."""
        with write_errors(self.root):
            self.root.mkdir(parents=True, mode=0o700, exist_ok=True)
            require_room(self.root, FREE_BYTES)
            self.kubeconfig.unlink(missing_ok=True)
        self.configure(configuration)
        self.write(record)

    def remove_files(self) -> None:
        """Remove the files of a cluster that no longer exists."""
        shutil.rmtree(self.root, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the cluster for this run; raises ClusterError when another run has the lock.

        The kernel releases the lock when this process ends, however it ends. Raises PreflightError when the lock file
        cannot be written.
        """
        lock = filelock.FileLock(self._lock_file, timeout=0, mode=0o600)
        with write_errors(self._lock_file):
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise ClusterError(
                    f"kind cluster {self.name} is in use by another run of this suite (lock {self._lock_file})",
                    next_step="wait for that run, or give this one its own cluster with --cluster-name",
                ) from error
        try:
            yield
        finally:
            # Before the release: afterwards the file may be the lock of another run.
            self._lock_file.unlink(missing_ok=True)
            lock.release()


def cluster_names() -> tuple[str, ...]:
    """Return the names of the clusters that have files."""
    root = _root()
    return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) if root.exists() else ()


def _root() -> Path:
    return states_root().with_name("kind")
