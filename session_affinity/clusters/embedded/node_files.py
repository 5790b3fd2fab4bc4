"""What a node that runs the user's own program sees of the machine's files: nothing that it writes reaches them.

The program is root, and may write where agents of dataplanes do. /run, /var/lib and /var/log are tmpfs on every node.
Here in addition

* everything that is the machine's is read-only, except its devices;
* /etc, /opt and /tmp show the machine's files, and keep what is written to themselves (an overlay on a tmpfs);
* sysctls that belong to the whole machine are files of the node: they have the machine's values, and keep what is
  written to themselves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded import linux, node_program

if TYPE_CHECKING:
    from collections.abc import Mapping

_COPY_ON_WRITE: Final = ("/etc", "/opt", "/tmp")  # noqa: S108 - a node's own
_DEVICES: Final = Path("/dev")
_SYSCTLS: Final = Path("/proc/sys")
_OF_NAMESPACES: Final = ("net", "user")
"""The directories of /proc/sys whose files belong to a network or user namespace."""
_LIVE: Final = ("kernel/hostname", "kernel/domainname", "kernel/random", "kernel/ns_last_pid", "fs/mqueue")
"""Sysctls that belong to other namespaces of the node, or that change by themselves."""


def protect_machine() -> None:
    """Make all mounts of the machine read-only in this mount namespace, except its devices; raises OSError."""
    linux.set_read_only("/", read_only=True)
    linux.set_read_only(_DEVICES, read_only=False)


def mount_copies(directory: Path) -> None:
    """Mount a node's copies of directories that agents write to; ``directory`` is on a tmpfs of the node.

    The directories of CNI are empty in them.
    """
    for name in filter(os.path.isdir, _COPY_ON_WRITE):
        upper, work = (directory / name.strip("/") / part for part in ("upper", "work"))
        for path in (upper, work):
            path.mkdir(parents=True)
        shutil.copymode(name, upper)
        linux.mount("overlay", name, "overlay", options=f"lowerdir={name},upperdir={upper},workdir={work}")
    for path in (node_program.CNI_CONFIGURATION, node_program.CNI_PLUGINS):
        # The machine may have a container runtime with CNI configuration and plugins of its own.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)


def copy_sysctls(directory: Path, values: Mapping[str, str]) -> None:
    """Replace the sysctls of the whole machine by copies below ``directory``, with these values for some of them."""
    live = {name: os.open(_SYSCTLS / name, os.O_PATH) for name in _LIVE if (_SYSCTLS / name).exists()}
    for tree in (path for path in _SYSCTLS.iterdir() if path.is_dir() and path.name not in _OF_NAMESPACES):
        copy = directory / tree.name
        _copy_tree(tree, copy)
        linux.bind(copy, tree)
    for name, value in values.items():
        if (_SYSCTLS / name).exists():
            (_SYSCTLS / name).write_text(f"{value}\n")
    for name, descriptor in live.items():
        linux.bind(f"/proc/self/fd/{descriptor}", _SYSCTLS / name)
        os.close(descriptor)


def _copy_tree(tree: Path, copy: Path) -> None:
    for parent, _, names in os.walk(tree):
        target = copy / Path(parent).relative_to(tree)
        target.mkdir(parents=True)
        for name in names:
            (target / name).touch()
            with contextlib.suppress(OSError):  # some can only be written
                (target / name).write_bytes(Path(parent, name).read_bytes())


def mount_bpf() -> None:
    """Mount a BPF file system of the node, where the kernel has BPF; call it over a new sysfs."""
    if node_program.BPF.exists():
        linux.mount("bpf", node_program.BPF, "bpf", options="mode=700")
