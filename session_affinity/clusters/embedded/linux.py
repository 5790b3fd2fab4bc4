"""The few system calls that Python 3.11 does not offer: namespaces, mounts, the parent's death.

``os.unshare`` and ``os.setns`` came with Python 3.12; Debian 12 has 3.11.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def _call(name: str, *arguments: object) -> None:
    """Call a libc function that returns 0, or raise OSError with its name and errno."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags``; with CLONE_NEWPID it takes effect for the next child."""
    _call("unshare", flags)


def enter_network_namespace(pid: int) -> None:
    """Move this process into the network namespace of another."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        _call("setns", namespace.fileno(), CLONE_NEWNET)


def mount(source: str, target: Path | str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount ``source`` on ``target``; raises OSError."""
    _call(
        "mount", source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )


def bind(source: Path | str, target: Path | str) -> None:
    """Make a directory visible at a second place, with all that is mounted below it."""
    mount(str(source), target, "none", MS_BIND | MS_REC)


def make_mounts_private() -> None:
    """Keep what is mounted from here on inside this mount namespace (systemd makes / shared)."""
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def unmount(target: Path | str) -> None:
    """Take a mount off, at once from sight and for good when nobody uses it any more."""
    _call("umount2", str(target).encode(), MNT_DETACH)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that forked it ends."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_process_name(name: str) -> None:
    """Set what ``ps`` and ``top`` show for this process (15 characters)."""
    _call("prctl", _PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: with the pid it names a process for good. None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
