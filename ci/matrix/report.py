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

from ci.matrix import facts, gate, history, results, table
from ci.matrix.offline import make_offline
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ci.matrix.expected import Plan

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGURATION: Final = ROOT / "ci" / "report"
INDEX: Final = "index.html"
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
    """What a matrix came to: the table, the gate's verdict in words, and what keeps the gate shut."""

    table: table.LegTable
    verdict: str
    faults: tuple[str, ...]

    @property
    def open(self) -> bool:
        """Whether nothing keeps the gate shut."""
        return not self.faults


@dataclass(frozen=True)
class WholeRun:
    """What the report says of all legs together: the page claim by leg, what keeps the gate shut, common facts."""

    page: str
    faults: Sequence[str]
    facts: Mapping[str, str]

    def write(self, directory: Path) -> Path:
        """Write it as results that Allure finds, and return the directory."""
        directory.mkdir()
        now = int(time.time() * 1000)
        source = f"{uuid.uuid4()}-attachment.html"
        (directory / source).write_text(self.page, encoding="utf-8")
        attachment = {"name": "claim by leg", "type": "text/html", "source": source, "timestamp": now}
        errors = [{"message": f"gate: {fault}", "timestamp": now} for fault in self.faults]
        (directory / f"{uuid.uuid4()}-globals.json").write_text(
            json.dumps({"attachments": [attachment], "errors": errors}), encoding="utf-8"
        )
        (directory / facts.FILE).write_text(facts.properties(self.facts), encoding="utf-8")
        return directory


def merge(plan: Plan, root: Path, output: Path, past: Path, allure: Allure) -> Merged:
    """Judge the results below a directory by both gates, and make one report of them with the page claim by leg.

    A matrix without any result has no report, but a verdict. Raises SuiteError when Allure cannot make the report, and
    UsageError when ``output`` is something else than a report.
    """
    root, output, past = root.resolve(), output.resolve(), past.resolve()  # Allure runs elsewhere
    paths = _directories(root)
    found = results.read(paths)
    plan.write(root / EXPECTED)
    # The two look at the same results: if only the one that counts is shut, the other one is wrong.
    faults = gate.faults(plan, found) or (_counted(paths, root / EXPECTED, allure) if paths else ())
    verdict = gate.told(plan, found, faults)
    by_leg = table.claim_by_leg(plan, found)
    clear(output)
    if paths:
        page = table.html(by_leg, verdict, linked=False)
        generate(paths, output, past, allure, WholeRun(page, faults, facts.shared(facts.of_legs(paths))))
    output.mkdir(parents=True, exist_ok=True)
    for name in (PAGE,) if paths else (PAGE, INDEX):
        (output / name).write_text(table.html(by_leg, verdict, linked=bool(paths)), encoding="utf-8")
    (output / MARKDOWN).write_text(f"{table.markdown(by_leg)}\n```\n{verdict}\n```\n", encoding="utf-8")
    return Merged(by_leg, verdict, faults)


def clear(output: Path) -> None:
    """Remove an earlier report; raises UsageError for a directory that holds something else."""
    if output.exists() and any(output.iterdir()) and not (output / INDEX).is_file():
        raise UsageError(f"{output} is no report: it is not written over", next_step="name another --output")
    shutil.rmtree(output, ignore_errors=True)


def generate(
    paths: Sequence[Path],
    output: Path,
    past: Path,
    allure: Allure,
    whole: WholeRun | None = None,
) -> None:
    """Make the HTML report of some directories of results. ``past`` is the history file, which gets this run's line.

    Raises SuiteError with what Allure said when it fails.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        history.lines_before(past.resolve(), results.report_ids(paths)) as lines,
    ):
        of_legs = Path(scratch) / "facts.json"
        of_legs.write_text(json.dumps({leg.id: told for leg, told in facts.of_legs(paths).items()}), encoding="utf-8")
        variables = {"AFFINITY_HISTORY": str(lines), "AFFINITY_FACTS": str(of_legs)}
        # The last, for what it says of the run is what Allure then says.
        extra = [whole.write(Path(scratch) / "allure-results")] if whole else []
        arguments = ["-o", str(output.resolve()), *(str(path.resolve()) for path in (*paths, *extra))]
        ended = allure.run("generate", "allurerc.mjs", arguments, variables)
        if ended.code or not (output / INDEX).is_file():
            raise SuiteError(
                f"Allure could not make the report ({ended.code}):\n{ended.said.strip()}",
                next_step="make distclean and run again, if it says nothing of use",
            )
        make_offline(output)


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


def _counted(paths: Sequence[Path], expected: Path, allure: Allure) -> tuple[str, ...]:
    """Return what keeps Allure's own gate shut, without the blanks and empty lines it is laid out with."""
    said = allure.run(
        "quality-gate", "allurerc.gate.mjs", [str(path) for path in paths], {"AFFINITY_EXPECTED": str(expected)}
    )
    lines = (re.sub(r"\s{2,}", "  ", line).strip() for line in said.said.splitlines())
    return ("Allure: " + "; ".join(line for line in lines if line),) if said.code else ()
