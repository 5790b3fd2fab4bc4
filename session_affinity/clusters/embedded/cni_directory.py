"""Makes containerd read a node's CNI configuration again, however that was written.

containerd watches the directory for writes, renamings and removals of files, and ignores the creation of one
(internal/cri/server/cni_conf_syncer.go, syncLoop). A file that is renamed into the directory from another one, or
linked there, is only created in it: containerd would report "cni plugin not initialized" until the next change.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded import linux

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIXES: Final = (".conf", ".conflist", ".json")
"""The names that are read (containernetworking/cni, libcni/api.go, ConfFiles)."""
_EVENTS: Final = linux.IN_CREATE | linux.IN_MOVED_TO | linux.IN_CLOSE_WRITE


class CniDirectory:
    """The directory with the CNI configuration of a node; ``descriptor`` is readable after a change of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = linux.watch_directory(path, _EVENTS)

    def handle_changes(self) -> None:
        """Remove a file that nobody reads if configuration has come or changed: containerd notices a removal."""
        if any(name.endswith(_SUFFIXES) for name in linux.changed_names(self.descriptor)):
            with tempfile.NamedTemporaryFile(dir=self._path, prefix=".changed-"):
                pass
