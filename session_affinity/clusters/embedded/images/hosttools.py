"""Collects command line tools of the host, with their libraries, as the content of the client's image.

Nothing is assumed about the host's file system layout: a tool is found by name, its libraries are those that ``ldd``
prints, and the image has a merged ``/usr`` with links such as ``/bin``, so that the paths of merged and split hosts
work.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded.images.oci import Directory, Entry, File, Link
from session_affinity.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SYSTEM_PATH = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin")
"""Searched before the caller's PATH, where version managers put wrappers that do not run in the image."""

# fmt: off
_COREUTILS = (
    "cat", "chmod", "cp", "cut", "date", "echo", "env", "false", "head", "id", "ls", "mkdir", "mktemp", "mv", "printf",
    "pwd", "readlink", "rm", "seq", "sleep", "sort", "stat", "tail", "tee", "test", "timeout", "touch", "tr", "true",
    "uname", "uniq", "wc",
)
# fmt: on

REQUIRED: Mapping[str, str] = {
    **dict.fromkeys(_COREUTILS, "coreutils"),
    "bash": "bash",
    "conntrack": "conntrack",
    "curl": "curl",
    "grep": "grep",
    "ip": "iproute2",
    "sed": "sed",
    "sh": "dash",
    "ss": "iproute2",
}
"""The commands that the client must have, with the Debian package of each."""

_RULE_COMMANDS = (
    *(f"{tables}{variant}-save" for tables in ("iptables", "ip6tables") for variant in ("", "-nft", "-legacy")),
    "nft",
)
OPTIONAL = ("awk", "getent", "hostname", "nc", "xargs", "zsh", *_RULE_COMMANDS)
"""Commands that the image has when the host has them; the node agent of external clusters reads rules with some."""

# ldd, from glibc or musl: "NAME => /path (0x...)", or "/path (0x...)" for the loader itself.
_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_UNRESOLVED = re.compile(r"^\s+(\S+) => not found", re.MULTILINE)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# The loader needs its index for libraries outside its built-in directories.
_LOADER_INDEX = Path("/etc/ld.so.cache")

_DIRECTORIES: Mapping[str, int] = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_ETC: Mapping[str, str] = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class Tool:
    """A command; ``path`` is its file with all links resolved."""

    name: str
    path: Path


def locate(required: Mapping[str, str] = REQUIRED, optional: Sequence[str] = OPTIONAL) -> tuple[Tool, ...]:
    """Return the host's tools, sorted by name.

    Raises PreflightError naming all required commands that are missing and their Debian packages.
    """
    search = os.pathsep.join((*SYSTEM_PATH, os.environ.get("PATH", "")))
    tools: list[Tool] = []
    missing: list[str] = []
    for name in sorted({*required, *optional}):
        path = shutil.which(name, path=search)
        if path:
            tools.append(Tool(name, Path(path).resolve()))
        elif name in required:
            missing.append(name)
    if missing:
        packages = sorted({required[name] for name in missing})
        raise PreflightError(
            f"the client's image is built from tools of this machine, which lacks {', '.join(missing)}",
            next_step=f"install them, on Debian with apt-get install {' '.join(packages)}",
        )
    return tuple(tools)


def libraries(tools: Iterable[Tool]) -> tuple[Path, ...]:
    """Return the shared libraries and loaders of the tools, with the paths that the host's loader uses.

    Raises PreflightError when ``ldd`` is missing or the host lacks a library of a tool.
    """
    files = sorted({str(tool.path) for tool in tools})
    search = os.pathsep.join(SYSTEM_PATH)
    ldd = shutil.which("ldd", path=search)
    if ldd is None:
        raise PreflightError("this machine has no ldd", next_step="install it, on Debian with apt-get install libc-bin")
    # Without the caller's environment, because its LD_LIBRARY_PATH does not apply in the image.
    completed = subprocess.run(
        [ldd, *files], env={"PATH": search, "LC_ALL": "C"}, capture_output=True, text=True, check=False, timeout=60
    )
    unresolved = sorted(set(_UNRESOLVED.findall(completed.stdout)))
    if unresolved:
        raise PreflightError(
            f"tools of this machine lack libraries: {', '.join(unresolved)}",
            next_step=f"run ldd on {' '.join(files)} and install what is missing",
        )
    loaded = {Path(path) for path in _LIBRARY.findall(completed.stdout)}
    return tuple(sorted(loaded.union(*map(_extensions, loaded))))


def inputs(tools: Iterable[Tool], shared: Iterable[Path]) -> tuple[Path, ...]:
    """Return every file of the host that goes into the image."""
    index = (_LOADER_INDEX,) if _LOADER_INDEX.exists() else ()
    return tuple(sorted({*(tool.path for tool in tools), *shared, *index}))


def entries(tools: Sequence[Tool], shared: Sequence[Path]) -> tuple[Entry, ...]:
    """Return the content of the image.

    Without zsh on the host, ``zsh`` is a link to bash, which runs the same simple loops.
    """
    tree: dict[str, Entry] = {f"/{name}": Link(f"/{name}", f"usr/{name}") for name in _MERGED}
    tree |= {f"/usr/{name}": Directory(f"/usr/{name}") for name in _MERGED}
    tree |= {path: File(path, text.encode(), 0o644) for path, text in _ETC.items()}
    tree |= {f"/{name}": Directory(f"/{name}", mode) for name, mode in _DIRECTORIES.items()}
    for path in inputs(tools, shared):
        place = _merged(path)
        tree[place] = File(place, path.read_bytes(), 0o644 if path == _LOADER_INDEX else 0o755)
    for tool in tools:
        command = f"/usr/bin/{tool.name}"
        if command != _merged(tool.path):
            tree[command] = Link(command, _merged(tool.path))
    if "/usr/bin/bash" in tree:
        tree.setdefault("/usr/bin/zsh", Link("/usr/bin/zsh", "bash"))
    return tuple(tree.values())


def _extensions(library: Path) -> set[Path]:
    """Return the files that a library loads with dlopen, which ldd does not list: the extensions of iptables."""
    return set(library.parent.glob("xtables/*.so")) if library.name.startswith("libxtables.") else set()


def _merged(path: Path) -> str:
    """Return the path in the image, where /bin, /sbin and /lib* are below /usr."""
    parts = PurePosixPath(path).parts
    return str(PurePosixPath("/usr", *parts[1:])) if parts[1] in _MERGED else str(path)
