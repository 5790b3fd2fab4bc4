"""The smallest shape that still differs: which smaller rows to try next, until no smaller row differs.

Each step changes values of some dimensions to smaller ones. A row is smallest when none of the rows that are smaller in
one dimension differs: all of them have been made and compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.shapes.dimensions import DEFAULTS, ENDPOINTS, FULL, PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.shapes.covering import Row

_COUNTED: Final = (ENDPOINTS, PORTS)
MOST_COUNTS: Final = 12
"""How many smaller numbers of endpoints are tried at the same time."""


def size(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Return how large a shape is: how many values are no defaults, how far they are from it, endpoints and ports."""
    other = sum(row[name] != value for name, value in DEFAULTS.items())
    far = sum(FULL.values[name].index(row[name]) for name in DEFAULTS if name not in _COUNTED)
    return other, far, sum(int(row[name]) for name in _COUNTED)


def smaller(row: Mapping[str, str]) -> list[Row]:
    """Return the allowed rows that are smaller in one dimension.

    Where a default is not allowed beside the other values, those that keep it from being so become defaults too.
    """
    found: list[Row] = []
    for name in DEFAULTS:
        for value in _smaller_values(name, row[name]):
            candidate = _allowed({**row, name: value}, name)
            if candidate is not None and candidate not in found:
                found.append(candidate)
    return found


def preferred(row: Mapping[str, str], differing: Sequence[Row]) -> list[Row]:
    """Return those of the smaller rows to go on with: while there are any, those with as many endpoints and ports.

    Fewer endpoints with another oddity, such as an address on two ports, would be a way to a shape that is small in
    numbers only.
    """
    return [other for other in differing if all(other[name] == row[name] for name in _COUNTED)] or list(differing)


def together(row: Mapping[str, str], differing: Sequence[Row]) -> Iterator[Row]:
    """Yield rows that combine the changes of several smaller rows, the boldest first.

    All changes together are one step where they do not depend on each other; halves of them where they do.
    """
    changes = [{name: value for name, value in other.items() if value != row[name]} for other in differing]
    size_of_part = len(changes)
    while size_of_part > 1:
        for start in range(0, len(changes), size_of_part):
            merged = dict(row)
            for change in changes[start : start + size_of_part]:
                # Of two changes of one dimension the first is the smaller one.
                merged |= {name: value for name, value in change.items() if merged[name] == row[name]}
            if FULL.is_allowed(merged):
                yield merged
        size_of_part //= 2


def difference_from_default(row: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a row that are not defaults."""
    return {name: row[name] for name, value in DEFAULTS.items() if row[name] != value}


def describe(row: Mapping[str, str]) -> str:
    """Return a row in words: what is not a default."""
    values = difference_from_default(row)
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "all defaults"


def _smaller_values(name: str, value: str) -> Iterator[str]:
    """Yield values that are smaller, the smallest first."""
    if name not in _COUNTED:
        values = FULL.values[name]
        yield from values[: values.index(value)]
        return
    least = 0 if name == ENDPOINTS else 1
    below = range(least, int(value))
    step = max(-(-len(below) // MOST_COUNTS), 1)
    # The last is one less: when it does not differ, no number between was left out.
    yield from map(str, sorted({*below[::step], *below[-1:]}))


def _allowed(row: Row, kept: str) -> Row | None:
    """Return a row with the violated constraints' other dimensions at their defaults; None when that does not help."""
    changed = dict(row)
    for _ in DEFAULTS:
        violated = next(FULL.violated(changed), None)
        if violated is None:
            return changed
        others = [name for name in violated.dimensions if name != kept and changed[name] != DEFAULTS[name]]
        if not others:
            return None
        changed[others[0]] = DEFAULTS[others[0]]
    return None
