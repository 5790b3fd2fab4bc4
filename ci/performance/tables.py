"""The tables of a measured run, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ci.performance.processes import Usage
    from ci.performance.timeline import Span

SHORTEST: Final = 0.3
"""Spans that are shorter, in seconds, are summed up in one row."""


def tables(spans: Sequence[Span], calls: Mapping[str, int], usage: Usage, seconds: float, processors: int) -> str:
    """Return the tables of a run that took ``seconds`` on so many processors.

    ``calls`` is how often all threads together did what the tests wait for.
    """
    whole = (
        f"Whole run {seconds:.1f} s; processor time {usage.total:.1f} s; "
        f"idle {usage.idle:.1f} s of {processors * seconds:.1f} s on {processors} processors."
    )
    programs = _table(
        ("program", "processor s"),
        ((name, f"{used:.1f}") for name, used in _largest(usage.programs) if used >= SHORTEST),
    )
    return "\n\n".join((whole, programs, _waits(spans, calls), _spans(spans))) + "\n"


def _waits(spans: Iterable[Span], calls: Mapping[str, int]) -> str:
    """Return what the thread that runs the tests did, summed over the run, and how often it is done in all threads."""
    sums: dict[str, float] = defaultdict(float)
    for span in spans:
        sums["computing"] += span.processor
        for what, seconds in span.waits.items():
            sums[f"waiting for {what}"] += seconds
    rows = (
        (name, f"{seconds:.1f}", str(calls.get(name.removeprefix("waiting for "), "")))
        for name, seconds in _largest(sums)
    )
    return _table(("the tests' thread", "s", "calls of all threads"), rows)


def _spans(spans: Sequence[Span]) -> str:
    """Return a row for each fixture and claim in order of their beginning; claims with all their parts."""
    rows: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.began):
        rows[span.name, "fixture" if span.part == "fixture" else "claim"].append(span)
    start = min(span.began for span in spans)
    shown: list[tuple[str, ...]] = []
    rest = 0.0
    for (name, kind), parts in rows.items():
        seconds = sum(part.seconds for part in parts)
        if seconds < SHORTEST:
            rest += seconds
            continue
        waits: dict[str, float] = defaultdict(float)
        for part in parts:
            for what, waited in part.waits.items():
                waits[what] += waited
        shown.append(
            (
                f"{parts[0].began - start:.1f}",
                f"{kind} {name}" if kind == "fixture" else name,
                f"{seconds:.1f}",
                f"{sum(part.processor for part in parts):.1f}",
                ", ".join(f"{what} {waited:.1f}" for what, waited in _largest(waits) if waited >= 0.05),
            )
        )
    shown.append(("", f"all shorter than {SHORTEST} s", f"{rest:.1f}", "", ""))
    return _table(("began", "fixture or claim", "s", "computing", "waiting for"), shown)


def _largest(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda entry: -entry[1])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(_lines((head, ["---"] * len(head), *rows)))


def _lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(row)} |"
