"""The HTML report, made by Allure 3, and the page that shows every claim by leg."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from affinity.errors import SuiteError
from affinity.matrix import gate, history, results, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from affinity.matrix.expected import Plan

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGURATION: Final = ROOT / "report"
PAGE: Final = "claim-by-leg.html"
MARKDOWN: Final = "claim-by-leg.md"
EXPECTED: Final = "expected.json"


@dataclass(frozen=True)
class Allure:
    """Allure 3 as ``scripts/report-tools.sh`` installs it: Node and the program."""

    node: Path
    program: Path = CONFIGURATION / "node_modules" / "allure" / "cli.js"

    @classmethod
    def of(cls, environment: Path) -> Allure:
        """Return the one beside a Python environment; raises SuiteError when it is not installed."""
        found = cls(environment / "bin" / "node")
        for file in (found.node, found.program):
            if not file.exists():
                raise SuiteError(f"the report needs {file}", next_step="run make report, which installs it")
        return found

    def run(self, verb: str, configuration: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Ended:
        """Run a command of Allure in a directory of its own, for it leaves things where it runs."""
        with tempfile.TemporaryDirectory() as directory:
            run = subprocess.run(
                [str(self.node), str(self.program), verb, "-c", str(CONFIGURATION / configuration), *arguments],
                cwd=directory,
                env={**os.environ, "NO_COLOR": "1", **variables},
                capture_output=True,
                text=True,
                check=False,
            )
        return Ended(run.returncode, run.stdout + run.stderr)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Merged:
    """What a matrix came to: the table, the gate's verdict in words, and whether the gate is open."""

    table: table.Table
    verdict: str
    open: bool


def merge(plan: Plan, root: Path, output: Path, past: Path, allure: Allure) -> Merged:
    """Make one report of the results below a directory, with the page claim by leg, and judge it by both gates.

    A matrix without any result has no report, but a verdict. Raises SuiteError when Allure cannot make the report.
    """
    paths = _directories(root)
    found = results.read(paths)
    expected = root / EXPECTED
    plan.write(expected)
    faults = gate.faults(plan, found)
    verdict = gate.told(plan, found, faults)
    by_leg = table.claim_by_leg(plan, found)
    shutil.rmtree(output, ignore_errors=True)
    if paths:
        page = table.html(by_leg, verdict, linked=False)
        generate(paths, output, past, allure, expected=expected, page=page)
        counted = allure.run(
            "quality-gate", "allurerc.gate.mjs", [str(path) for path in paths], {"AFFINITY_EXPECTED": str(expected)}
        )
        if counted.code and not faults:
            # The two look at the same results: where they differ one of them is wrong, and the gate stays shut.
            faults = (f"Allure's gate, and nothing else: {squeezed(counted.said)}",)
            verdict = gate.told(plan, found, faults)
    output.mkdir(parents=True, exist_ok=True)
    for name in (PAGE,) if paths else (PAGE, "index.html"):
        (output / name).write_text(table.html(by_leg, verdict, linked=bool(paths)), encoding="utf-8")
    (output / MARKDOWN).write_text(f"{table.markdown(by_leg)}\n```\n{verdict}\n```\n", encoding="utf-8")
    return Merged(by_leg, verdict, not faults)


def generate(
    paths: Sequence[Path],
    output: Path,
    past: Path,
    allure: Allure,
    *,
    expected: Path | None = None,
    page: str = "",
) -> None:
    """Make the HTML report of some directories of results. ``past`` is the history file, which gets this run's line.

    ``page`` becomes an attachment of the whole run. Raises SuiteError with what Allure said when it fails.
    """
    with tempfile.TemporaryDirectory() as scratch, history.lines_before(past, results.report_ids(paths)) as lines:
        variables = {"AFFINITY_HISTORY": str(lines), "AFFINITY_EXPECTED": str(expected or "")}
        extra = [_attached(Path(scratch) / "allure-results", page)] if page else []
        arguments = ["-o", str(output.resolve()), *(str(path.resolve()) for path in (*paths, *extra))]
        ended = allure.run("generate", "allurerc.mjs", arguments, variables)
        if ended.code or not (output / "index.html").is_file():
            raise SuiteError(
                f"Allure could not make the report ({ended.code}):\n{ended.said.strip()}",
                next_step="make distclean and run again, if it says nothing of use",
            )


def squeezed(said: str) -> str:
    """Return what the gate said without the blanks and empty lines it is laid out with."""
    lines = (re.sub(r"\s{2,}", "  ", line).strip() for line in said.splitlines())
    return "\n".join(line for line in lines if line)


def server_of(directory: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """Return a server of a report on the loopback address; the caller runs it."""
    handler = functools.partial(_Quiet, directory=str(directory))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


def _directories(root: Path) -> tuple[Path, ...]:
    try:
        return results.directories(root)
    except results.ResultsError:
        return ()


def _attached(directory: Path, page: str) -> Path:
    """Write a page where Allure finds it as an attachment of the whole run, and return the directory."""
    directory.mkdir()
    source = f"{uuid.uuid4()}-attachment.html"
    (directory / source).write_text(page, encoding="utf-8")
    attachment = {"name": "claim by leg", "type": "text/html", "source": source, "timestamp": int(time.time() * 1000)}
    (directory / f"{uuid.uuid4()}-globals.json").write_text(json.dumps({"attachments": [attachment], "errors": []}))
    return directory
