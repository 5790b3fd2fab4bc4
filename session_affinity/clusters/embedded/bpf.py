"""Detaches the BPF programs of a cgroup that is about to be removed.

A removed cgroup keeps them loaded while a socket refers to it, and the sockets of processes that were killed wait up to
two minutes for an answer to their last packet (net.ipv4.tcp_orphan_retries). Source of numbers and layouts: Linux
include/uapi/linux/bpf.h, union bpf_attr.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_SYSCALL: Final = {"x86_64": 321, "aarch64": 280}
_PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 9, 13, 16
ATTACH_TYPES: Final = (*range(4), 6, *range(8, 16), *range(18, 23), *range(29, 33), 34, 43, *range(49, 54))
"""Those of enum bpf_attach_type that are about cgroups.

To others the descriptor of the cgroup is the index of a network interface (BPF_TCX_INGRESS, BPF_NETKIT_PRIMARY).
"""
_QUERY: Final = struct.Struct("IIIIQII")
_ATTRIBUTES_BYTES: Final = 256
"""More than union bpf_attr has in any kernel: the kernel may write to fields behind the size in the call."""
_MOST: Final = 64
"""The number of programs of one type that a cgroup can have (BPF_CGROUP_MAX_PROGS)."""


def detach_all(cgroup: Path) -> None:
    """Detach all programs from a cgroup, except those of links, which end with their processes.

    Does nothing where the kernel has no BPF or refuses.
    """
    for attach_type in ATTACH_TYPES:
        with contextlib.suppress(OSError, KeyError), opened(cgroup) as target:
            for program in attached(cgroup, attach_type):
                descriptor = open_program(program)
                try:
                    call(_PROG_DETACH, struct.pack("IIII", target, descriptor, attach_type, 0))
                finally:
                    os.close(descriptor)


def attached(cgroup: Path, attach_type: int, flags: int = 0) -> set[int]:
    """Return the IDs of the programs of a type that are attached to a cgroup; raises OSError."""
    ids = (ctypes.c_uint32 * _MOST)()
    with opened(cgroup) as target:
        attributes = ctypes.create_string_buffer(
            _QUERY.pack(target, attach_type, flags, 0, ctypes.addressof(ids), _MOST, 0), _ATTRIBUTES_BYTES
        )
        call(_PROG_QUERY, attributes)
    return set(ids[: _QUERY.unpack_from(attributes)[5]])


def open_program(program: int) -> int:
    """Return a file descriptor of the program of an ID; raises FileNotFoundError when there is none."""
    return call(_PROG_GET_FD_BY_ID, struct.pack("III", program, 0, 0))


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Yield a file descriptor of a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def call(command: int, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Call bpf(2); raises OSError, and KeyError on an architecture whose number of it is not known here."""
    result = _libc.syscall(
        ctypes.c_long(_SYSCALL[platform.machine()]), command, attributes, ctypes.c_size_t(len(attributes))
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf({command}): {os.strerror(number)}")
    return int(result)
