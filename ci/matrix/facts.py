"""What each leg ran on, as its run wrote it beside its results, and what all legs have in common.

Allure knows one set of such facts a report and takes the last it reads; in a report of several legs that would be one
leg's, told of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ci.matrix import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ci.matrix.legs import Leg

FILE: Final = "environment.properties"
_OF_ONE_RUN: Final = ("seconds ", "program ")
"""Facts that a reader who compares legs does not look for."""


def of_legs(paths: Iterable[Path]) -> dict[Leg, dict[str, str]]:
    """Return the facts of each leg that has results in some directories; none of a leg whose run wrote none."""
    found: dict[Leg, dict[str, str]] = {}
    for path in paths:
        told = _told(path / FILE)
        for leg in {one.leg for one in results.read([path])}:
            found.setdefault(leg, {}).update(told)
    return found


def shared(legs: Mapping[Leg, Mapping[str, str]]) -> dict[str, str]:
    """Return which legs there are, and the facts that are the same on all of them."""
    names = ", ".join(leg.name for leg in sorted(legs, key=lambda leg: leg.order))
    first, *others = legs.values()
    return {
        "legs": names,
        **{name: value for name, value in first.items() if all(_same(one, name, value) for one in others)},
    }


def properties(facts: Mapping[str, str]) -> str:
    """Return facts as the file that Allure reads."""
    return "".join(f"{name.replace(' ', '_')} = {value}\n" for name, value in facts.items())


def _same(facts: Mapping[str, str], name: str, value: str) -> bool:
    return facts.get(name) == value


def _told(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    pairs = (line.partition(" = ") for line in file.read_text(encoding="utf-8").splitlines())
    facts = {name.replace("_", " "): value for name, mark, value in pairs if mark}
    return {name: value for name, value in facts.items() if not name.startswith(_OF_ONE_RUN)}
