"""The facts of each leg's cluster, from the file that its run wrote beside the results.

Allure shows one set of facts for a report, that of the directory it reads last. A report of several legs therefore
shows the facts that all legs share there, and the facts of each leg with its environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ci.matrix import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from session_affinity.legs import Leg

FILE: Final = "environment.properties"
_NOT_COMPARED: Final = ("seconds ", "program ")
"""Prefixes of facts that differ between any two runs and say nothing about a leg."""


def of_legs(paths: Iterable[Path]) -> dict[Leg, dict[str, str]]:
    """Return the facts of every leg with results in these directories; empty facts for a leg whose run wrote none."""
    facts: dict[Leg, dict[str, str]] = {}
    for path in paths:
        facts_of_run = _read(path / FILE)
        for leg in {result.leg for result in results.read([path])}:
            facts.setdefault(leg, {}).update(facts_of_run)
    return facts


def shared(legs: Mapping[Leg, Mapping[str, str]]) -> dict[str, str]:
    """Return the names of the legs, and the facts that are the same on all of them."""
    names = ", ".join(leg.name for leg in sorted(legs, key=lambda leg: leg.order))
    first, *others = legs.values()
    same = {name: value for name, value in first.items() if all(facts.get(name) == value for facts in others)}
    return {"legs": names, **same}


def properties(facts: Mapping[str, str]) -> str:
    """Return facts in the format of the file that Allure reads."""
    return "".join(f"{name.replace(' ', '_')} = {value}\n" for name, value in facts.items())


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    pairs = (line.partition(" = ") for line in file.read_text(encoding="utf-8").splitlines())
    facts = {name.replace("_", " "): value for name, separator, value in pairs if separator}
    return {name: value for name, value in facts.items() if not name.startswith(_NOT_COMPARED)}
