"""The host's command line tools, with what they need to run, as the content of the client's image.

Nothing is assumed about the host's layout: a tool is found by name, its libraries are those that the host's loader
would take (``ldd``), and the image has one ``/usr`` tree with links beside it, so that paths of either layout work.
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
"""Looked through before the caller's PATH, where version managers put wrappers that do not run elsewhere."""

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
"""The Debian package of every command that the client must have."""

_RULE_READERS = (
    *(f"{tables}{variant}-save" for tables in ("iptables", "ip6tables") for variant in ("", "-nft", "-legacy")),
    "nft",
)
OPTIONAL = ("awk", "getent", "hostname", "nc", "xargs", "zsh", *_RULE_READERS)
"""Commands that the image has where the host has them; as a node agent it reads rules with some of them."""

# ldd, from glibc or musl: "NAME => /path (0x...)", or "/path (0x...)" for the loader itself.
_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_UNRESOLVED = re.compile(r"^\s+(\S+) => not found", re.MULTILINE)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# The loader's index is needed for libraries outside of the directories that are built into it.
_LOADER_INDEX = Path("/etc/ld.so.cache")

_DIRECTORIES: Mapping[str, int] = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_ETC: Mapping[str, str] = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class Tool:
    """A command under its name; ``path`` is the file behind all links."""

    name: str
    path: Path


def locate(required: Mapping[str, str] = REQUIRED, optional: Sequence[str] = OPTIONAL) -> tuple[Tool, ...]:
    """Return the host's tools, sorted by name.

    Raises PreflightError with every required command that is missing and the Debian packages that have them.
    """
    search = os.pathsep.join((*SYSTEM_PATH, os.environ.get("PATH", "")))
    tools: list[Tool] = []
    missing: list[str] = []
    for name in sorted({*required, *optional}):
        found = shutil.which(name, path=search)
        if found:
            tools.append(Tool(name, Path(found).resolve()))
        elif name in required:
            missing.append(name)
    if missing:
        packages = sorted({required[name] for name in missing})
        raise PreflightError(
            f"the client's image is made of this machine's tools, and it has no {', '.join(missing)}",
            next_step=f"install the Debian package of each: apt-get install {' '.join(packages)}",
        )
    return tuple(tools)


def libraries(tools: Iterable[Tool]) -> tuple[Path, ...]:
    """Return the shared libraries and loaders of the tools, by the paths that the host's loader has for them.

    Raises PreflightError where ``ldd`` is missing or the host itself lacks a library.
    """
    files = sorted({str(tool.path) for tool in tools})
    search = os.pathsep.join(SYSTEM_PATH)
    ldd = shutil.which("ldd", path=search)
    if ldd is None:
        raise PreflightError("no ldd on this machine", next_step="apt-get install libc-bin")
    # Without the caller's environment: a library path of theirs does not exist in the image.
    answer = subprocess.run(
        [ldd, *files], env={"PATH": search, "LC_ALL": "C"}, capture_output=True, text=True, check=False, timeout=60
    )
    unresolved = sorted(set(_UNRESOLVED.findall(answer.stdout)))
    if unresolved:
        raise PreflightError(
            f"this machine's own tools lack libraries: {', '.join(unresolved)}",
            next_step=f"run ldd on {' '.join(files)} and install what is missing",
        )
    found = {Path(path) for path in _LIBRARY.findall(answer.stdout)}
    return tuple(sorted(found.union(*map(_extensions, found))))


def inputs(tools: Iterable[Tool], shared: Iterable[Path]) -> tuple[Path, ...]:
    """Return every file of the host that goes into the image."""
    index = (_LOADER_INDEX,) if _LOADER_INDEX.exists() else ()
    return tuple(sorted({*(tool.path for tool in tools), *shared, *index}))


def entries(tools: Sequence[Tool], shared: Sequence[Path]) -> tuple[Entry, ...]:
    """Return the content of the image.

    Where the host has no zsh, ``zsh`` is a link to bash: the loops people write for one run in the other.
    """
    tree: dict[str, Entry] = {f"/{name}": Link(f"/{name}", f"usr/{name}") for name in _MERGED}
    tree |= {f"/usr/{name}": Directory(f"/usr/{name}") for name in _MERGED}
    tree |= {path: File(path, text.encode(), 0o644) for path, text in _ETC.items()}
    tree |= {f"/{name}": Directory(f"/{name}", mode) for name, mode in _DIRECTORIES.items()}
    for path in inputs(tools, shared):
        place = _merged(path)
        tree[place] = File(place, path.read_bytes(), 0o644 if path == _LOADER_INDEX else 0o755)
    for tool in tools:
        called = f"/usr/bin/{tool.name}"
        if called != _merged(tool.path):
            tree[called] = Link(called, _merged(tool.path))
    if "/usr/bin/bash" in tree:
        tree.setdefault("/usr/bin/zsh", Link("/usr/bin/zsh", "bash"))
    return tuple(tree.values())


def _extensions(library: Path) -> set[Path]:
    """Return what a library loads by itself, which no loader tells of: iptables has an extension for each match."""
    return set(library.parent.glob("xtables/*.so")) if library.name.startswith("libxtables.") else set()


def _merged(path: Path) -> str:
    """Return the path with /bin, /lib and their like below /usr, as the image has it."""
    parts = PurePosixPath(path).parts
    return str(PurePosixPath("/usr", *parts[1:])) if parts[1] in _MERGED else str(path)
