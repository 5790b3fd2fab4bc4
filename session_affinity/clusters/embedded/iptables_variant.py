"""The variants of iptables: which of the two keeps the rules that kube-proxy writes on the nodes.

Both print and take the same rules. The programs of one are on a node's PATH under their usual names, before those of
the machine, so that kube-proxy, kubelet and everybody who looks into a node use that one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from session_affinity.errors import PreflightError

_PROGRAMS: Final = tuple((kind, end) for kind in ("iptables", "ip6tables") for end in ("", "-save", "-restore"))


def installed(variant: str) -> dict[str, Path]:
    """Return the programs of a variant on PATH by their usual names; none where one of them is not there."""
    found = {f"{kind}{end}": shutil.which(f"{kind}-{variant}{end}") for kind, end in _PROGRAMS}
    return {} if None in found.values() else {name: Path(path) for name, path in found.items() if path}


def link(variant: str, directory: Path) -> Path:
    """Make a directory with a variant's programs under their usual names, and return the path of ``iptables`` in it.

    Links that are right stay, so that running clusters can use the directory. Raises PreflightError where the machine
    lacks a program of the variant.
    """
    programs = installed(variant)
    if not programs:
        raise PreflightError(
            f"programs not found on PATH: those of iptables-{variant}",
            next_step="run make setup, or on Debian: apt-get install iptables",
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        place = directory / name
        if not place.is_symlink() or place.readlink() != program:
            draft = directory / f".{name}.{os.getpid()}"
            draft.unlink(missing_ok=True)
            draft.symlink_to(program)
            draft.replace(place)
    return directory / "iptables"
