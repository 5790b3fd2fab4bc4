"""Gets the programs of the embedded cluster and prints where each of them is and where it came from."""

from __future__ import annotations

import argparse
import signal
import sys

from session_affinity import versions
from session_affinity.clusters.embedded.binaries import ensure, missing_packages, pins
from session_affinity.errors import SuiteError
from session_affinity.progress import Progress


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m session_affinity.clusters.embedded.binaries",
        description=__doc__,
        epilog="SESSION_AFFINITY_CACHE names another cache directory, SESSION_AFFINITY_SOURCE is auto, release or "
        "build, SESSION_AFFINITY_RELEASES names a mirror of the official releases.",
    )
    parser.add_argument("--kubernetes", metavar="VERSION", help="1.37, or a full version such as 1.37.2")
    parser.add_argument("--quiet", action="store_true", help="say nothing while it downloads or builds")
    parser.add_argument(
        "--missing-packages",
        action="store_true",
        help="print the Debian packages without which a program could not be built here, and do nothing else",
    )
    parser.add_argument("--tool", help="get this program of the project's own checks, and print only its path")
    options = parser.parse_args(arguments)
    # A run that is ended takes the build it started with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        release = versions.resolve(options.kubernetes).release
        if options.missing_packages:
            sys.stdout.writelines(f"{package}\n" for package in missing_packages(release, Progress(quiet=True)))
            return 0
        if options.tool:
            found = ensure(release, Progress(quiet=options.quiet), components=(pins.tool(options.tool),))
            sys.stdout.write(f"{found[options.tool]}\n")
            return 0
        binaries = ensure(release, Progress(quiet=options.quiet))
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next run resumes\n")
        return 130
    for name, origin in binaries.origins.items():
        sys.stdout.write(f"{name} {origin}\n")
        sys.stdout.writelines(
            f"  {program:<25} {binaries[program]}\n" for program in binaries.components[name].programs
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
