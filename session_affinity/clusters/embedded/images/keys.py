"""The keys of image archives in the cache.

A key covers all inputs of the archive: the source of this package, the architecture, and every file of the host by
path, size and modification time. Running ``ldd`` takes long, so its list of libraries is cached too, with a key of its
tools; sizes and times of the libraries are still checked in every run. The Go programs have a separate key, so that an
upgrade of the host's tools, or a cache copied to another machine, does not need Go.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded import cache_files
from session_affinity.clusters.embedded.images import hosttools

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from session_affinity.clusters.embedded.images.hosttools import Tool

_GO_SUFFIXES = (".go", ".mod")
_SOURCE_SUFFIXES = (*_GO_SUFFIXES, ".py")


def source_digest(directory: Path, suffixes: Sequence[str] = _SOURCE_SUFFIXES) -> str:
    """Return a digest over the names and contents of the source files below a directory."""
    digest = hashlib.sha256()
    for file in sorted(path for path in directory.rglob("*") if path.suffix in suffixes):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(directory)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def files_digest(files: Iterable[Path]) -> str:
    """Return a digest over paths, sizes in bytes and modification times in nanoseconds; files may be missing."""
    lines = []
    for file in sorted(files):
        try:
            status = file.stat()
            lines.append(f"{file} {status.st_size} {status.st_mtime_ns}")
        except OSError:
            lines.append(f"{file} missing")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def key(source: Path, architecture: str, tools: Sequence[Tool], shared: Sequence[Path]) -> str:
    """Return the key of an archive for these inputs."""
    parts = [
        architecture,
        source_digest(source),
        *(f"{tool.name}={tool.path}" for tool in tools),
        files_digest(hosttools.inputs(tools, shared)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def programs_key(source: Path, architecture: str) -> str:
    """Return the key of the Go programs; no file of the host is an input of them."""
    return hashlib.sha256(f"{architecture}\n{source_digest(source, _GO_SUFFIXES)}".encode()).hexdigest()[:32]


def libraries(directory: Path, tools: Sequence[Tool]) -> tuple[Path, ...]:
    """Return the libraries of the tools, from the list in ``directory`` unless a tool or library has changed."""
    tool_digest = files_digest(tool.path for tool in tools)
    list_file = directory / f"libraries-{tool_digest[:32]}.json"
    try:
        cached = json.loads(list_file.read_text())
        shared = tuple(Path(path) for path in cached["libraries"])
        if cached["digest"] == files_digest(shared):
            return shared
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Absent or damaged: replaced below.
    shared = hosttools.libraries(tools)
    found = {"digest": files_digest(shared), "libraries": [str(path) for path in shared]}
    cache_files.replace(list_file, json.dumps(found, indent=1))
    return shared
