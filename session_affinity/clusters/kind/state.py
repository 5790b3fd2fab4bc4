"""What the suite remembers of a kind cluster it made, so that a later run can tell it from someone else's."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.clusters.embedded.state import require_room, states_root, write_errors
from session_affinity.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from session_affinity.clusters.kind.engine import Container

FREE_BYTES: Final = 2**20
"""What the files of a cluster may grow to: that the disk is full is said before the cluster is made, not after."""
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class KindRecord:
    """A cluster of this suite.

    ``nodes`` has the engine's ids of its containers by name, empty until the cluster has started; ``kept`` says that
    it is to outlive its run; ``network_was_there`` that the network of kind's containers is not ours to remove;
    ``images`` has the nodes' own names of images of the manifests.
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
        """Whether its start came to its end."""
        return bool(self.nodes)

    def describes(self, containers: Sequence[Container]) -> bool:
        """Whether these containers are the cluster's: a part of them, or any while it was being started."""
        return not self.started or {one.id for one in containers} <= set(self.nodes.values())


class KindState:
    """The files of one cluster: kind's configuration, the kubeconfig, the record; and a lock held by its run."""

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a cluster: at most 40 lower-case letters, digits and inner dashes",
            )
        self.name = name
        self.root = _root() / name
        self.configuration = self.root / "kind.yaml"
        self.kubeconfig = self.root / "kubeconfig"
        self._record = self.root / "cluster.json"
        self._lock = self.root.with_name(f"{name}.lock")

    def record(self) -> KindRecord | None:
        """Return what is remembered, None when there is nothing or it cannot be read."""
        try:
            return KindRecord(**json.loads(self._record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: KindRecord) -> None:
        """Remember; raises PreflightError when it cannot be written."""
        with write_errors(self.root):
            draft = self._record.with_suffix(".new")
            draft.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
            draft.replace(self._record)

    def begin(self, configuration: Mapping[str, Any], record: KindRecord) -> None:
        """Write all that there is to know before anything is created; raises PreflightError."""
        with write_errors(self.root):
            self.root.mkdir(parents=True, mode=0o700, exist_ok=True)
            require_room(self.root, FREE_BYTES)
            self.kubeconfig.unlink(missing_ok=True)
            self.configuration.write_text(yaml.safe_dump(dict(configuration), sort_keys=False), encoding="utf-8")
        self.write(record)

    def forget(self) -> None:
        """Remove the files of a cluster that is gone."""
        shutil.rmtree(self.root, ignore_errors=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs away from the cluster; raises ClusterError when one has it, PreflightError without room.

        The lock ends with this process, however it ends.
        """
        descriptor = self._locked()
        if descriptor is None:
            raise ClusterError(
                f"kind cluster {self.name} is in use by another run of this suite (lock {self._lock})",
                next_step="wait for it, or give this run a cluster of its own with --cluster-name",
            )
        try:
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            os.close(descriptor)

    def _locked(self) -> int | None:
        with write_errors(self._lock):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the file between our open and our lock.
            if os.fstat(descriptor).st_ino == self._lock.stat().st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None


def names() -> tuple[str, ...]:
    """Return the names of the clusters that something is remembered of."""
    root = _root()
    return tuple(sorted(one.name for one in root.iterdir() if one.is_dir())) if root.exists() else ()


def _root() -> Path:
    return states_root().with_name("kind")
