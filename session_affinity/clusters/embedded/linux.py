"""System calls that Python 3.11 lacks: namespaces, mounts and prctl, called through libc.

``os.unshare`` and ``os.setns`` exist since Python 3.12; Debian 12 has 3.11.
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
