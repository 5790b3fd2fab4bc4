"""The table claim by leg: a row per claim, a column per leg, as text, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from ci.matrix.results import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ci.matrix.expectations import Plan
    from ci.matrix.results import Result
    from session_affinity.legs import Leg

NOT_RUN: Final = "not run"
"""The word for a claim that a leg had to run and has no result of."""
NOT_SELECTED: Final = "-"
"""The word for a claim that was not selected on a leg."""
NO_TITLE: Final = "(pytest collected no test of this claim)"
_FAULTS: Final = {"failed", "broken", NOT_RUN}
_TITLE_WIDTH: Final = 60


@dataclass(frozen=True)
class Cell:
    """A claim on a leg: the worst status of its results as a word, and the results."""

    word: str
    results: tuple[Result, ...] = ()

    @property
    def text(self) -> str:
        """The word, with the number of tests that have this status when others differ."""
        count = sum(result.status == self.word for result in self.results)
        return f"{self.word} {count} of {len(self.results)}" if 0 < count < len(self.results) else self.word

    @property
    def detail(self) -> str:
        """The first line of the message, or the headline of a result that passed; empty without either."""
        texts = (result.message or result.headline for result in self.results if result.status == self.word)
        return next((text.splitlines()[0] for text in texts if text), "")


@dataclass(frozen=True)
class Row:
    """A claim and its cells, in the order of the legs."""

    claim: str
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class LegTable:
    """Every claim that is in the plan or has a result, on every leg that is in the plan or has one."""

    legs: tuple[Leg, ...]
    rows: tuple[Row, ...]

    def counts(self) -> tuple[str, ...]:
        """Return, for each leg, how many of its judged claims passed."""
        columns = [[row.cells[column].word for row in self.rows] for column in range(len(self.legs))]
        return tuple(
            f"{words.count('passed')} of {sum(word not in ('skipped', NOT_SELECTED) for word in words)}"
            for words in columns
        )


def claim_by_leg(plan: Plan, results: Sequence[Result]) -> LegTable:
    """Return the table of a plan and its results; legs and claims outside the plan are shown too."""
    legs = tuple(sorted({*plan.legs, *(result.leg for result in results)}, key=lambda leg: leg.order))
    expected = {
        (expectation.leg, claim): expectation.judged.get(claim, 0) + expectation.skipped.get(claim, 0)
        for expectation in plan.expectations
        for claim in (*expectation.judged, *expectation.skipped)
    }
    by_cell: dict[tuple[Leg, str], tuple[Result, ...]] = {}
    for result in results:
        cell = result.leg, result.claim
        by_cell[cell] = (*by_cell.get(cell, ()), result)
    claims = {claim for _, claim in (*expected, *by_cell)}
    titles = plan.titles
    return LegTable(
        legs,
        tuple(
            Row(
                claim,
                titles.get(claim, NO_TITLE),
                tuple(_cell(expected.get((leg, claim), 0), by_cell.get((leg, claim), ())) for leg in legs),
            )
            for claim in (*titles, *sorted(claims - set(titles)))
        ),
    )


def text(table: LegTable) -> str:
    """Return the table for a terminal or a log: stacked headings, faults in capitals, the counts in the last line."""
    headings = [(leg.kubernetes, leg.proxy_mode, leg.provider, leg.family) for leg in table.legs]
    body = [[cell.text.upper() if cell.word in _FAULTS else cell.text for cell in row.cells] for row in table.rows]
    columns = list(zip(*body, strict=True)) or [()] * len(headings)
    parts = zip(headings, columns, table.counts(), strict=True)
    widths = [max(map(len, (*heading, *column, count))) for heading, column, count in parts]
    title = max((min(len(row.title), _TITLE_WIDTH) for row in table.rows), default=0)
    lines = [_line("", "", title, level, widths) for level in zip(*headings, strict=True)]
    lines += [_line(row.claim, row.title, title, cells, widths) for row, cells in zip(table.rows, body, strict=True)]
    return "\n".join((*lines, _line("", "passed of judged", title, table.counts(), widths)))


def markdown(table: LegTable) -> str:
    """Return the table for a step summary or an issue, with faults in bold."""
    lines = [
        _markdown_row(("claim", "", *(leg.name for leg in table.legs))),
        _markdown_row("---" for _ in range(len(table.legs) + 2)),
    ]
    for row in table.rows:
        words = (f"**{cell.text}**" if cell.word in _FAULTS else cell.text for cell in row.cells)
        lines.append(_markdown_row((row.claim, row.title.replace("|", "\\|"), *words)))
    lines.append(_markdown_row(("", "passed of judged", *table.counts())))
    return "\n".join(lines) + "\n"


def html(table: LegTable, verdict: str, *, linked: bool) -> str:
    """Return the table as a page without scripts, with links to the report's index.html beside it when ``linked``."""
    import jinja2

    template = resources.files("ci.matrix").joinpath("claim-by-leg.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    classes = {status: status for status in STATUSES} | {NOT_RUN: "not-run", NOT_SELECTED: "not-selected"}
    variables: dict[str, Any] = {"table": table, "verdict": verdict, "linked": linked, "classes": classes}
    return environment.from_string(template).render(variables)


def _cell(expected: int, results: tuple[Result, ...]) -> Cell:
    statuses = {result.status for result in results}
    worst = next((status for status in STATUSES if status in statuses), None)
    if worst in ("failed", "broken"):
        return Cell(worst, results)
    if len(results) < expected:
        return Cell(NOT_RUN, results)
    return Cell(worst or NOT_SELECTED, results)


def _line(claim: str, title: str, width: int, cells: Iterable[str], widths: Iterable[int]) -> str:
    shortened = title if len(title) <= width else title[: width - 3] + "..."
    columns = "  ".join(f"{cell:<{cell_width}}" for cell, cell_width in zip(cells, widths, strict=True))
    return f"{claim:<6}{shortened:<{width}}  {columns}".rstrip()


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
