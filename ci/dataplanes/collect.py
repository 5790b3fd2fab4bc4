"""Puts the reports of a night into reports/, where docs/implementations.md is made from them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.conformance import report as reports
from session_affinity.conformance.result import Outcome
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ci.dataplanes.plan import Dataplane

ARTIFACT: Final = "dataplane-"
"""How the name of an artifact begins; the name of its dataplane follows."""
REPORT: Final = "*report.yaml"
README: Final = """\
# {project}

Made every night on kind by the workflow `dataplanes`, with `ci/dataplanes/install/`; known differences are in
`ci/dataplanes/differences/`.
"""


@dataclass(frozen=True)
class Collected:
    """What became of the report of a dataplane: the file it was put into, or why it was not."""

    name: str
    file: Path | None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.file or f'no report, {self.reason}'}"


def collect(artifacts: Path, reports_directory: Path, dataplanes: Sequence[Dataplane]) -> Iterator[Collected]:
    """Put the report of each dataplane below the directory of its project, and yield what became of it.

    A report in which a claim could not be judged, or none was, is left out: the one before it says more. Reports differ
    in dates and seconds each night, so one that says what the stored one says is left out too.
    """
    for dataplane in dataplanes:
        found = sorted((artifacts / f"{ARTIFACT}{dataplane.name}").rglob(REPORT))
        if not found:
            yield Collected(dataplane.name, None, "the run wrote none")
            continue
        try:
            document = reports.read(found[0])
            reports.require_valid(document, str(found[0]))
        except (SuiteError, UsageError) as error:
            yield Collected(dataplane.name, None, error.what)
            continue
        if reason := _why_not(document):
            yield Collected(dataplane.name, None, reason)
            continue
        directory = reports_directory / f"{dataplane.organization}-{dataplane.project}"
        file = directory / f"{document['implementation']['version']}-{dataplane.mode}-report.yaml"
        if file.exists() and _statement(reports.read(file)) == _statement(document):
            yield Collected(dataplane.name, None, "it says what the stored one says")
            continue
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found[0], file)
        if not (directory / "README.md").exists():
            (directory / "README.md").write_text(README.format(project=dataplane.project), encoding="utf-8")
        yield Collected(dataplane.name, file)


def _why_not(document: dict[str, Any]) -> str:
    counts = document["summary"]
    if undetermined := counts[Outcome.UNDETERMINED]:
        return f"{undetermined} claims could not be judged"
    judged = sum(count for outcome, count in counts.items() if outcome != Outcome.SKIPPED)
    return "" if judged else "no claim was judged"


def _statement(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a report says, without moments and measured values."""
    claims = [{name: claim.get(name) for name in ("id", "result", "reason")} for claim in document["claims"]]
    kept = ("implementation", "mode", "cluster", "access", "suite", "profiles")
    return {**{name: document[name] for name in kept}, "claims": claims}
