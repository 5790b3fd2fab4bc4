"""BPF programs of cgroups: loaded, attached and pinned, and found where they are attached."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded import bpf

if TYPE_CHECKING:
    from pathlib import Path

_PROG_LOAD, _OBJ_PIN, _PROG_ATTACH = 5, 6, 8
_CGROUP_SKB: Final = 8
"""BPF_PROG_TYPE_CGROUP_SKB."""
_EGRESS: Final = 1
"""BPF_CGROUP_INET_EGRESS: packets that processes of the cgroup send."""
_ALLOW_MULTI: Final = 2
EFFECTIVE: Final = 1
"""BPF_F_QUERY_EFFECTIVE: also the programs of the cgroups above."""
_INSTRUCTION: Final = struct.Struct("BBhi")


def load_passing() -> int:
    """Load a program that lets every packet pass, and return its file descriptor."""
    instructions = _INSTRUCTION.pack(0xB7, 0, 0, 1) + _INSTRUCTION.pack(0x95, 0, 0, 0)  # r0 = 1; exit
    code, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "IIQQIIQII16sII",
        *(_CGROUP_SKB, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"passing", 0, _EGRESS),
    )
    return bpf.call(_PROG_LOAD, attributes)


def attach(program: int, cgroup: Path) -> None:
    """Attach a program to the root of a cgroup, beside others."""
    with bpf.opened(cgroup) as target:
        bpf.call(_PROG_ATTACH, struct.pack("IIII", target, program, _EGRESS, _ALLOW_MULTI))


def pin(program: int, file: Path) -> None:
    """Give a program a name in a BPF file system."""
    name = ctypes.create_string_buffer(os.fsencode(file))
    bpf.call(_OBJ_PIN, struct.pack("QII", ctypes.addressof(name), program, 0))


def attached(cgroup: Path, flags: int = 0) -> set[int]:
    """Return the IDs of the programs that are attached to a cgroup; with ``EFFECTIVE`` of those that it runs."""
    return bpf.attached(cgroup, _EGRESS, flags)


def exists(program: int) -> bool:
    """Whether the machine still has the program of an ID."""
    try:
        os.close(bpf.open_program(program))
    except FileNotFoundError:
        return False
    return True
