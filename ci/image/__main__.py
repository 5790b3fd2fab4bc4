"""Builds the suite's container image on a machine with apt: no container engine, no root (``make image``)."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci.image import build
from session_affinity import about
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.command_line import run
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES: Final = """\
examples:
  python -m ci.image                                             dist/image.tar, for this machine
  python -m ci.image --architecture amd64 --architecture arm64   for both
  python -m ci.image --root DIR                                  the files alone, for a container engine

An OCI archive is pushed with any tool for registries (skopeo, crane, oras), loaded with docker load or podman load, and
imported on a node with ctr images import.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.image",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--architecture", action="append", choices=build.ARCHITECTURES, help="may be given twice [this machine's]"
    )
    parser.add_argument("--name", default=about.IMAGE, help=f"full name of the image [{about.IMAGE}]")
    parser.add_argument("--wheel", type=Path, help="the suite's wheel [built from this checkout]")
    parser.add_argument("--output", type=Path, default=Path("dist/image.tar"), help="the archive [dist/image.tar]")
    parser.add_argument("--uncompressed", action="store_true", help="do not compress the layers")
    parser.add_argument("--root", type=Path, help="write the files of the image below this directory instead")
    parser.set_defaults(verb=_build)
    return run(parser, arguments)


def _build(parsed: argparse.Namespace) -> int:
    progress = Progress()
    architectures = parsed.architecture or [machine_arch()]
    if parsed.root is not None:
        (content,) = build.contents(parsed.name, architectures, progress, wheel=parsed.wheel).values()
        shutil.rmtree(parsed.root, ignore_errors=True)
        build.write_root(content, parsed.root)
        return 0
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    digest = build.build(
        parsed.name, architectures, parsed.output, progress, wheel=parsed.wheel, compressed=not parsed.uncompressed
    )
    print(f"{parsed.name}@{digest}\n{parsed.output}: {parsed.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
