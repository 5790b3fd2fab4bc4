"""System calls that Python 3.11 lacks: namespaces, mounts and prctl, called through libc.

``os.unshare`` and ``os.setns`` exist since Python 3.12; Debian 12 has 3.11.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000

IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_CREATE = 0x100

_SYS_MOUNT_SETATTR = 442
"""The number of mount_setattr(2), the same on all architectures; glibc has a function for it since 2.36."""
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1
_EVENTS_BYTES = 65536
_INOTIFY_EVENT = struct.Struct("iIII")

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def _call(name: str, *arguments: object) -> None:
    """Call a libc function that returns 0, or raise OSError with its name and errno."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move this process into new namespaces; with CLONE_NEWPID only its next children are in the new one."""
    _call("unshare", flags)


def enter_network_namespace(pid: int) -> None:
    """Move this process into the network namespace of another process."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        _call("setns", namespace.fileno(), CLONE_NEWNET)


def mount(source: str, target: Path | str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount ``source`` on ``target``; raises OSError."""
    _call(
        "mount", source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )


def bind(source: Path | str, target: Path | str) -> None:
    """Bind-mount ``source`` on ``target``, with everything that is mounted below it."""
    mount(str(source), target, "none", MS_BIND | MS_REC)


def make_mounts_private() -> None:
    """Stop mount propagation to and from this mount namespace; systemd makes / shared."""
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def share_mounts() -> None:
    """Let mounts propagate within this mount namespace, to containers that ask for it; call it after the last mount."""
    mount("none", "/", "none", MS_REC | MS_SHARED)


def set_read_only(path: Path | str, *, read_only: bool) -> None:
    """Make all mounts at and below a path read-only or writable in this mount namespace; raises OSError.

    Needs kernel 5.12, which has mount_setattr(2).
    """
    attributes = struct.pack(
        "QQQQ", _MOUNT_ATTR_RDONLY if read_only else 0, 0 if read_only else _MOUNT_ATTR_RDONLY, 0, 0
    )
    _call(
        "syscall", ctypes.c_long(_SYS_MOUNT_SETATTR), _AT_FDCWD, str(path).encode(), _AT_RECURSIVE, attributes,
        ctypes.c_size_t(len(attributes)),
    )  # fmt: skip


def watch_directory(directory: Path | str, events: int) -> int:
    """Return a file descriptor from which ``changed_names`` reads; ``events`` are inotify(7) flags. Raises OSError."""
    descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, str(directory).encode(), events) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"inotify: {os.strerror(number)}", str(directory))
    return int(descriptor)


def changed_names(descriptor: int) -> set[str]:
    """Return the names of the files that changed in a watched directory since the last call."""
    names: set[str] = set()
    with contextlib.suppress(BlockingIOError):
        while events := os.read(descriptor, _EVENTS_BYTES):
            place = 0
            while place < len(events):
                length = _INOTIFY_EVENT.unpack_from(events, place)[3]
                place += _INOTIFY_EVENT.size
                names.add(events[place : place + length].rstrip(b"\0").decode(errors="replace"))
                place += length
    return names


def die_with_parent() -> None:
    """Let the kernel send SIGKILL to this process when the thread that forked it ends (PR_SET_PDEATHSIG)."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_process_name(name: str) -> None:
    """Set the name of this process in ``ps`` and ``top``, cut to 15 bytes."""
    _call("prctl", _PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def start_time(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot, or None when it has ended.

    A PID can be reused; the pair of PID and start time identifies a process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
