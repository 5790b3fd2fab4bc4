"""Runs ``session-affinity`` as on a machine that is not Linux: no /proc, no /sys, no module or call of Linux alone.

What was refused is written to standard error behind ``refused:``; an error that the program swallows is seen as well.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

DIRECTORIES: Final = ("/proc", "/sys")
MODULES: Final = ("pyroute2", "session_affinity.clusters.embedded", "session_affinity.clusters.kind")
CALLS: Final = ("unshare", "setns", "pidfd_open", "memfd_create", "sched_getaffinity", "eventfd", "splice")
refused: list[str] = []


class Refuse:
    """Finds none of the modules of Linux."""

    @staticmethod
    def find_spec(name: str, *_: object) -> ModuleSpec | None:
        if name.startswith(MODULES):
            refused.append(f"import {name}")
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def refuse_files(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to open and list files of Linux alone."""
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(DIRECTORIES):
        refused.append(f"{event} {arguments[0]}")
        raise FileNotFoundError(arguments[0])


def refuse_stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
    """Refuse to look at them."""
    if str(path).startswith(DIRECTORIES):
        refused.append(f"stat {path}")
        raise FileNotFoundError(path)
    return stat(path, *arguments, **options)


stat = os.stat
os.stat = refuse_stat
for call in CALLS:
    if hasattr(os, call):
        delattr(os, call)
sys.meta_path.insert(0, Refuse)
sys.addaudithook(refuse_files)
atexit.register(lambda: sys.stderr.write(f"refused: {' '.join(refused)}\n"))

from session_affinity.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
