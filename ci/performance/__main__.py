"""Measures a run of the suite: where its time goes, by fixture, claim, wait and program.

``python -m ci.performance -m affinity --cluster embedded`` runs pytest with these arguments and prints tables. On a
machine that does other work too, processor times count; other times are upper bounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ci.performance.processes import Sampler
from ci.performance.tables import tables
from ci.performance.timeline import FILE, Span


def main(arguments: list[str]) -> int:
    """Run pytest, print the tables, and return pytest's exit code."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "timeline.json"
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-p", "ci.performance.timeline", *arguments]
        with subprocess.Popen(command, env={**os.environ, FILE: str(file)}) as run, Sampler(run.pid) as sampler:
            code = run.wait()
            seconds, usage = time.monotonic() - began, sampler.usage()
        if not file.exists():
            print("nothing was measured: pytest ended before it ran a test", file=sys.stderr)
            return code
        measured = json.loads(file.read_text())
    spans = [Span(**span) for span in measured["spans"]]
    print(tables(spans, measured["calls"], usage, seconds, os.cpu_count() or 1))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
