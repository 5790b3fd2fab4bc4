"""The results of claims, read from the files that allure-pytest writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import SuiteError
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DIFFERS: Final = "differs"
"""The status of a claim that does not hold and is known not to; the parameter of its result that says why."""
STATUSES: Final = ("failed", "broken", DIFFERS, "passed", "skipped")
"""The statuses of results, worst first."""

HEADLINE: Final = "headline"
"""The parameter of a result that has the headline of its verdict: what was measured, in a few words."""

_NEXT_STEP: Final = "remove it, or run that leg again"


class ResultsError(SuiteError):
    """Results are missing, or are not what allure-pytest writes."""


@dataclass(frozen=True)
class Result:
    """The result of one test of a claim on one leg.

    ``message`` says why the test did not pass, ``headline`` what it measured. ``started`` is in milliseconds since the
    epoch; ``id`` is the result's id in the HTML report.
    """

    leg: Leg
    claim: str
    status: str
    message: str
    id: str
    started: int = 0
    headline: str = ""


def directories(root: Path) -> tuple[Path, ...]:
    """Return the directories with results at or below ``root``; raises ResultsError when there is none."""
    paths = sorted({file.parent for file in root.rglob("*-result.json")})
    if not paths:
        raise _no_results(root)
    return tuple(paths)


def newest(root: Path) -> Path:
    """Return the directory directly below ``root`` with the newest result; raises ResultsError when there is none."""
    files = list(root.rglob("*-result.json"))
    if not files:
        raise _no_results(root)
    last = max(files, key=lambda file: file.stat().st_mtime)
    return root / last.relative_to(root).parts[0]


def report_ids(paths: Iterable[Path]) -> frozenset[str]:
    """Return the report's ids of all results in these directories, also of tests that check no claim.

    Raises ResultsError, naming the file, for one that cannot be read.
    """
    return frozenset(report_id(_document(file)["uuid"]) for path in paths for file in _files(path))


def read(paths: Iterable[Path]) -> tuple[Result, ...]:
    """Return the results of claims in these directories, in the order in which their tests ran.

    Raises ResultsError, naming the file, for one that cannot be read or that lacks a label of its leg.
    """
    results = (_result(file, _document(file)) for path in paths for file in _files(path))
    return tuple(sorted((result for result in results if result), key=lambda result: (result.started, result.id)))


def report_id(uuid: str) -> str:
    """Return the id that Allure 3 gives to the result with this UUID: its address is ``index.html#id``."""
    return md5(uuid.encode(), usedforsecurity=False).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*-result.json"))


def _document(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**document, "uuid": str(document["uuid"])}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(file, error) from error


def _result(file: Path, document: Mapping[str, Any]) -> Result | None:
    try:
        labels: dict[str, str] = {label["name"]: label["value"] for label in document["labels"]}
        if "claim" not in labels:
            return None
        details = document.get("statusDetails") or {}
        parameters = {parameter["name"]: parameter["value"] for parameter in document.get("parameters", [])}
        return Result(
            Leg.of_labels(labels),
            labels["claim"],
            _status(document["status"], differs=DIFFERS in parameters),
            str(details.get("message") or "").strip(),
            report_id(document["uuid"]),
            int(document.get("start") or 0),
            str(parameters.get(HEADLINE, "")),
        )
    except KeyError as error:
        raise ResultsError(f"{file} has no {error}: its leg or status is unknown", next_step=_NEXT_STEP) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _unreadable(file, error) from error


def _status(status: str, *, differs: bool) -> str:
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
    return DIFFERS if differs and status == "skipped" else status


def _unreadable(file: Path, error: Exception) -> ResultsError:
    return ResultsError(f"{file} is not a result of allure-pytest: {error!r}", next_step=_NEXT_STEP)


def _no_results(root: Path) -> ResultsError:
    return ResultsError(f"there are no results below {root}", next_step="run make affinity or make matrix first")
