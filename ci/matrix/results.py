"""The results of runs, read from what allure-pytest wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final

from ci.matrix.legs import Leg
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STATUSES: Final = ("failed", "broken", "passed", "skipped")
"""What a result can be, the one that matters most first."""

HEADLINE: Final = "headline"
"""The parameter of a result that is no parameter: what was measured, in a few words."""


class ResultsError(SuiteError):
    """Results are not there, or not what allure-pytest writes."""


@dataclass(frozen=True)
class Result:
    """One test of a claim on one leg: ``message`` says why it did not pass, ``figure`` with which key number it did.

    ``id`` is what the HTML report calls it.
    """

    leg: Leg
    claim: str
    status: str
    message: str
    id: str
    started: int = 0
    headline: str = ""


def directories(root: Path) -> tuple[Path, ...]:
    """Return the directories with results at or below one; raises ResultsError when there is none."""
    found = sorted({file.parent for file in root.rglob("*-result.json")})
    if not found:
        raise ResultsError(f"there are no results below {root}", next_step="run make affinity or make matrix first")
    return tuple(found)


def newest(root: Path) -> Path:
    """Return the directory below one whose results are the newest; raises ResultsError when none has any."""
    last = {file.relative_to(root).parts[0]: file for file in sorted(root.rglob("*-result.json"), key=_written)}
    if not last:
        raise ResultsError(f"there are no results below {root}", next_step="run make affinity or make matrix first")
    return root / max(last, key=lambda name: _written(last[name]))


def report_ids(paths: Iterable[Path]) -> frozenset[str]:
    """Return what the report calls the results in some directories, of claims or not. Raises ResultsError."""
    return frozenset(report_id(_document(file)["uuid"]) for path in paths for file in _files(path))


def read(paths: Iterable[Path]) -> tuple[Result, ...]:
    """Return the results of claims in some directories, in the order they ran.

    Raises ResultsError, naming the file, for one that cannot be read or does not say which leg it is of.
    """
    found = (_result(file, _document(file)) for path in paths for file in _files(path))
    return tuple(sorted((one for one in found if one), key=lambda one: (one.started, one.id)))


def report_id(uuid: str) -> str:
    """Return the id that the report gives to the result of a UUID: its address there is ``index.html#id``."""
    return md5(uuid.encode(), usedforsecurity=False).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*-result.json"))


def _document(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**document, "uuid": str(document["uuid"])}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> ResultsError:
    return ResultsError(
        f"{file} is not a result of allure-pytest: {error!r}", next_step="remove it, or run that leg again"
    )


def _result(file: Path, document: Mapping[str, Any]) -> Result | None:
    try:
        labels: dict[str, str] = {label["name"]: label["value"] for label in document["labels"]}
        if "claim" not in labels:
            return None
        details = document.get("statusDetails") or {}
        return Result(
            Leg(labels["k8s"], labels["proxy"], labels["provider"]),
            labels["claim"],
            _status(document["status"]),
            str(details.get("message") or "").strip(),
            report_id(document["uuid"]),
            int(document.get("start") or 0),
            next((str(one["value"]) for one in document.get("parameters", []) if one["name"] == HEADLINE), ""),
        )
    except KeyError as error:
        raise ResultsError(
            f"{file} has no {error}, so that nobody can tell what it is a result of",
            next_step="remove it, or run that leg again",
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _unreadable(file, error) from error


def _status(status: str) -> str:
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
    return status


def _written(file: Path) -> float:
    return file.stat().st_mtime
