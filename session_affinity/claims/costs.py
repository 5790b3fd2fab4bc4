"""What each claim costs in seconds, as measured: figures are taken from the results of runs, never typed in.

A claim's cost is what it added to a run of the whole catalogue, without what the run shares: the cluster, the sample
pods, the clientele. Claims about expiry share one wait of 30 s; the first of them has what was left of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE: Final = Path(__file__).with_name("costs.json")
Costs = dict[str, dict[str, float]]
"""Seconds by claim and proxy mode."""


def read(file: Path = FILE) -> Costs:
    """Return the seconds that are kept, empty where none are."""
    if not file.exists():
        return {}
    kept: Costs = json.loads(file.read_text())["seconds"]
    return kept


def measured(results: Mapping[str, Sequence[str]]) -> Costs:
    """Return the median seconds of each claim that passed, from JUnit files by proxy mode; raises UsageError."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for mode, files in results.items():
        for text in files:
            for claim, taken in _taken(text):
                seconds[claim][mode].append(taken)
    return {claim: {mode: round(median(all_), 2) for mode, all_ in modes.items()} for claim, modes in seconds.items()}


def updated(kept: Mapping[str, Mapping[str, float]], new: Costs) -> Costs:
    """Return the seconds that are kept with new ones in place of their own mode's."""
    return {claim: {**kept.get(claim, {}), **new.get(claim, {})} for claim in sorted({*kept, *new})}


def write(costs: Costs, on: str, file: Path = FILE) -> None:
    """Keep seconds, with what they were measured on."""
    file.write_text(json.dumps({"measured on": on, "seconds": costs}, indent=1, sort_keys=True) + "\n")


def measured_on(file: Path = FILE) -> str:
    """Return what the seconds that are kept were measured on; empty where none are kept."""
    return str(json.loads(file.read_text())["measured on"]) if file.exists() else ""


def _taken(junit: str) -> list[tuple[str, float]]:
    try:
        cases = list(ElementTree.fromstring(junit).iter("testcase"))  # noqa: S314 - a file that pytest wrote here
    except ElementTree.ParseError as error:
        raise UsageError(f"this is no JUnit file: {error}", next_step="pytest --junitxml=FILE writes one") from error
    return [(claim, float(case.get("time", 0))) for case in cases if (claim := _claim(case)) and not _went_wrong(case)]


def _claim(case: Any) -> str:
    return next((str(one.get("value")) for one in case.iter("property") if one.get("name") == "claim"), "")


def _went_wrong(case: Any) -> bool:
    return any(child.tag in ("failure", "error", "skipped") for child in case)
